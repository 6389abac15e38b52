package codec

import (
	"testing"

	"github.com/botsession/botsession/session"
)

func benchBoth(b *testing.B, f func(b *testing.B, c Codec)) {
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

func BenchmarkEncodeString(b *testing.B) {
	benchBoth(b, func(b *testing.B, c Codec) {
		for b.Loop() {
			must[Encoded](b)(c.Encode("will it rain in Rome?"))
		}
	})
}

func BenchmarkDecodeString(b *testing.B) {
	benchBoth(b, func(b *testing.B, c Codec) {
		stored := mustEncode(b, c, "will it rain in Rome?")
		for b.Loop() {
			var text string
			if err := Decode(stored, &text); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkEncodeMessage(b *testing.B) {
	m := session.Message{From: session.FromBot, Content: "will it rain in Rome?"}
	benchBoth(b, func(b *testing.B, c Codec) {
		for b.Loop() {
			must[Encoded](b)(c.EncodeMessage(m))
		}
	})
}

func BenchmarkDecodeMessage(b *testing.B) {
	benchBoth(b, func(b *testing.B, c Codec) {
		stored := must[Encoded](b)(c.EncodeMessage(session.Message{From: session.FromBot, Content: "will it rain in Rome?"}))
		for b.Loop() {
			must[session.Message](b)(DecodeMessage(stored))
		}
	})
}

func BenchmarkFields(b *testing.B) {
	ch := session.Change{SetIntent: true, Intent: someIntent(), Set: map[string]any{"city": "Rome", "visits": 3}}
	benchBoth(b, func(b *testing.B, c Codec) {
		for b.Loop() {
			if _, _, err := c.Fields(ch); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkSnapshot(b *testing.B) {
	benchBoth(b, func(b *testing.B, c Codec) {
		pairs := pairsOf(wholeHash(b, c))
		for b.Loop() {
			r := must[*Record](b)(ReadRecord(someRef, pairs))
			must[session.Snapshot](b)(r.Snapshot())
		}
	})
}
