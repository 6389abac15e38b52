// Package warm has the time that a replica waits before it dares anything.
package warm

import (
	"sync/atomic"
	"time"
)

var up atomic.Int64

func init() { Set(time.Minute) }

// Up is for how long a replica that begins to serve runs no handler eagerly: one that
// dies again and again so has its events accepted first, and they are counted.
func Up() time.Duration { return time.Duration(up.Load()) }

// Set sets it, for tests.
func Set(d time.Duration) { up.Store(int64(d)) }
