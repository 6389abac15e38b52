package codec

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmihailenco/msgpack/v5"
)

// Whatever form the library's Marshal chooses is read, and its Unmarshal reads
// what is written here.
func TestMsgpackOfOthers(t *testing.T) {
	t.Parallel()
	values := []any{
		nil, true, int64(-1), int64(-33), int64(-129), int64(-40_000), int64(-1 << 40), int64(127), int64(200), int64(70_000), int64(1 << 40),
		1.5, 0.1, "short", strings.Repeat("x", 40), strings.Repeat("x", 300), strings.Repeat("x", 70_000), []byte("b"), make([]byte, 70_000),
		[]any{"a", int64(1)}, map[string]any{"k": []any{}}, falses(17), falses(70_000), instant, time.Unix(5, 0).UTC(), time.Date(3000, 1, 1, 0, 0, 0, 5, time.UTC),
	}
	for _, v := range values {
		theirs, err := msgpack.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var got any
		if err := Decode(append([]byte("m"), theirs...), &got); err != nil || !cmp.Equal(v, got) {
			t.Errorf("theirs: %v: %s", err, cmp.Diff(v, got))
		}
		var read any
		if err := msgpack.Unmarshal(mustEncode(t, Msgpack, v)[1:], &read); err != nil {
			t.Fatal(err)
		}
		if when, ok := read.(time.Time); ok {
			read = when.UTC()
		}
		if want, got := fmt.Sprint(v), fmt.Sprint(read); want != got { // widths differ
			t.Errorf("ours: %.100s, want %.100s", got, want)
		}
	}
	t.Run("keys that are no strings are printed", func(t *testing.T) {
		theirs, err := msgpack.Marshal(map[any]any{int8(1): "one", true: "yes", 1.5: "half"})
		if err != nil {
			t.Fatal(err)
		}
		var got any
		want := map[string]any{"1": "one", "true": "yes", "1.5": "half"}
		if err := Decode(append([]byte("m"), theirs...), &got); err != nil || !cmp.Equal(want, got) {
			t.Error(got, err)
		}
		ints := map[int]string{}
		theirs, _ = msgpack.Marshal(map[int]string{1: "one"})
		if err := Decode(append([]byte("m"), theirs...), &ints); err != nil || ints[1] != "one" {
			t.Error(ints, err)
		}
	})
}
