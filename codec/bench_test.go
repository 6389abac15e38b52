package codec

import "testing"

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
