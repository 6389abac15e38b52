package stored

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/botsession/botsession/codec"
)

var codecs = []codec.Codec{codec.Msgpack, codec.JSON}

// forBoth runs a test as a sub-test of each codec.
func forBoth(t *testing.T, f func(t *testing.T, c codec.Codec)) {
	t.Helper()
	for _, c := range codecs {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			f(t, c)
		})
	}
}

func mustEncode(t testing.TB, c codec.Codec, v any) codec.Encoded {
	t.Helper()
	b, err := c.Encode(v)
	if err != nil {
		t.Fatalf("Encode(%#v): %v", v, err)
	}
	return b
}

func wantErr(t testing.TB, err, want error, parts ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}

var instant = time.Date(2025, 9, 16, 5, 20, 42, 123456789, time.UTC)
