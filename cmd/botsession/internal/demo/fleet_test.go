package demo

import "testing"

func TestPick(t *testing.T) {
	t.Parallel()
	a, b, c := &replica{number: 1}, &replica{number: 2}, &replica{number: 3}
	rng := testRand()
	f := &fleet{live: []*replica{a, b, c}}
	seen := map[*replica]int{}
	for range 300 {
		got := f.pick(rng, b)
		seen[got]++
	}
	if seen[b] > 0 || seen[a] < 100 || seen[c] < 100 {
		t.Errorf("picked %d, %d, %d times", seen[a], seen[b], seen[c])
	}
	f.live = []*replica{b}
	if got := f.pick(rng, b); got != b {
		t.Errorf("the only one is not picked: %v", got)
	}
	f.live = nil
	if got := f.pick(rng, b); got != nil {
		t.Errorf("picked %v of nobody", got)
	}
}
