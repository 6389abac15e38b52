// Package warm has the times that eager replicas go by. They are variables for tests.
package warm

import (
	"sync/atomic"
	"time"
)

var up, patience atomic.Int64

func init() { Set(time.Minute, 10*time.Millisecond) }

// Up is for how long a replica that begins to serve runs no handler eagerly: one that
// dies again and again so has its events accepted first, and they are counted.
func Up() time.Duration { return time.Duration(up.Load()) }

// Patience is for how long Accept waits for an eager run, before it has the event
// accepted as always.
func Patience() time.Duration { return time.Duration(patience.Load()) }

// Set sets both. A replica goes by what they are when it begins to serve.
func Set(newUp, newPatience time.Duration) {
	up.Store(int64(newUp))
	patience.Store(int64(newPatience))
}
