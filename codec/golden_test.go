package codec

import (
	"testing"
	"time"

	"github.com/botsession/botsession/internal/golden"
	"github.com/google/go-cmp/cmp"
)

// A sample is one value, and what it reads as for ever.
type sample struct{ in, want any }

func samples() map[string]sample {
	return map[string]sample{
		"nil":        {nil, nil},
		"bool":       {true, true},
		"integers":   {[]int64{0, -1, 200, -200, 1 << 40, -1 << 40}, []any{int64(0), int64(-1), int64(200), int64(-200), int64(1 << 40), int64(-1 << 40)}},
		"floats":     {[]float64{0.5, 0.1, 3, 1e300}, []any{0.5, 0.1, 3.0, 1e300}},
		"string":     {"perché no?", "perché no?"},
		"bytes":      {[]byte{0, 255, 'x'}, []byte{0, 255, 'x'}},
		"time":       {instant, instant},
		"time-early": {time.Time{}, time.Time{}},
		"map":        {map[string]any{"a": []any{nil, "b"}, "$c": instant}, map[string]any{"a": []any{nil, "b"}, "$c": instant}},
		"struct":     {Inner{Count: 3}, map[string]any{"count": int64(3), "Shade": nil}},
	}
}

func TestGoldenValues(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for name, s := range samples() {
		for _, c := range codecs {
			file := c.String() + "-" + name + ".golden"
			seen[file] = true
			t.Run(file+" is read for ever", func(t *testing.T) {
				t.Parallel()
				b := mustEncode(t, c, s.in)
				lines := golden.Lines(t, file, "One value: "+name+", written with "+c.String()+".", [][]string{{string(b)}})
				var got any
				err := Decode([]byte(lines[0][0]), &got)
				if diff := cmp.Diff(s.want, got); err != nil || diff != "" {
					t.Error(err, diff)
				}
			})
		}
	}
	golden.AllRead(t, seen)
}
