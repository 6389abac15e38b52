package call

import (
	"hash/fnv"
	"io"
	"math/rand/v2"
	"time"
)

// Dice draws what is left to chance: by this replica's name, by what it is drawn
// for, and by the moment. So replicas and sessions draw differently, and each
// time, but a simulation, in which a moment comes again, draws the same again.
func (c *Caller) Dice(what string) *rand.Rand {
	h := fnv.New64a()
	_, _ = io.WriteString(h, c.Name+" "+what)
	return rand.New(rand.NewPCG(h.Sum64(), uint64(time.Now().UnixNano())))
}

// Jitter is a time under most: by so much a pause is longer, so that those who
// began it together do not come back all at once.
func (c *Caller) Jitter(most time.Duration, what string) time.Duration {
	return time.Duration(c.Dice(what).Int64N(int64(most)))
}
