package store

import (
	"fmt"
	"testing"
)

func TestSeenHasWhatWasAddedAndNothingElse(t *testing.T) {
	t.Parallel()
	var s seen
	const n = 200_000
	for i := range n {
		if id := fmt.Sprint(i); i%2 == 0 && !s.has(id) {
			s.add(id)
		}
	}
	for i := range n {
		if got := s.has(fmt.Sprint(i)); got != (i%2 == 0) {
			t.Errorf("it has %d: %t", i, got)
		}
	}
}

func TestSeenTakesLittleMoreThanSixBytesAnID(t *testing.T) {
	t.Parallel()
	var s seen
	const n = 1_000_000
	for i := range n {
		s.add(fmt.Sprint(i))
	}
	size := 24 * len(s.parts)
	for _, part := range s.parts {
		size += 6 * cap(part)
	}
	if size > 8*n {
		t.Errorf("it takes %d bytes for %d ids", size, n)
	}
}
