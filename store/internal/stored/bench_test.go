package stored

import (
	"testing"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
)

func benchBoth(b *testing.B, f func(b *testing.B, c codec.Codec)) {
	for _, c := range codecs {
		b.Run(c.String(), func(b *testing.B) {
			b.ReportAllocs()
			f(b, c)
		})
	}
}

func must[T any](b *testing.B) func(T, error) T {
	return func(v T, err error) T {
		if err != nil {
			b.Fatal(err)
		}
		return v
	}
}

func BenchmarkEncodeMessage(b *testing.B) {
	m := session.Message{From: session.FromBot, Content: "will it rain in Rome?"}
	benchBoth(b, func(b *testing.B, c codec.Codec) {
		for b.Loop() {
			must[codec.Encoded](b)(EncodeMessage(c, m))
		}
	})
}

func BenchmarkDecodeMessage(b *testing.B) {
	benchBoth(b, func(b *testing.B, c codec.Codec) {
		stored := must[codec.Encoded](b)(EncodeMessage(c, session.Message{From: session.FromBot, Content: "will it rain in Rome?"}))
		for b.Loop() {
			must[session.Message](b)(DecodeMessage(stored))
		}
	})
}

func BenchmarkFields(b *testing.B) {
	ch := session.Change{SetIntent: true, Intent: someIntent(), Set: map[string]any{"city": "Rome", "visits": 3}}
	benchBoth(b, func(b *testing.B, c codec.Codec) {
		for b.Loop() {
			if _, _, err := Fields(c, ch); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkSnapshot(b *testing.B) {
	benchBoth(b, func(b *testing.B, c codec.Codec) {
		pairs := pairsOf(wholeHash(b, c))
		for b.Loop() {
			r := must[*Record](b)(ReadRecord(someRef, pairs))
			must[session.Snapshot](b)(r.Snapshot())
		}
	})
}
