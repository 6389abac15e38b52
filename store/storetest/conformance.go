package storetest

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/store/internal/warm"
)

// Conformance tests on one server everything that package store promises. The
// parts are subtests whose names are sentences.
//
// connect returns a new client at each call, with its own connections, to the
// same server: a *redis.Client or a *redis.ClusterClient, as [store.ParseURL]
// makes them. The suite closes it. It adds hooks to some clients that lose
// replies or break connections; it does no harm to the server. Each subtest
// uses a namespace of its own ("test-" and random letters), which it deletes.
//
// The subtests run in parallel, and many of them wait for a lease or a session
// to end, so a -parallel of several times the number of processors makes the
// suite faster.
func Conformance(t *testing.T, connect func(t testing.TB) redis.UniversalClient) {
	warm.Set(0, 300*time.Millisecond) // eager runs are tried at once, and on a slow machine too
	for _, part := range []struct {
		name   string
		checks []check
	}{
		{"session", theSession},
		{"chat", theChat},
		{"ids", theIDs},
		{"once", theOnce},
		{"order", theOrder},
		{"failures", theFailures},
		{"takeover", theTakeover},
		{"in hand", theHand},
		{"eager", theEager},
		{"outbox", theOutbox},
		{"calls beside turns", theCalls},
		{"waits", theWaits},
		{"shutdown", theShutdown},
		{"limits", theLimits},
		{"settings", theSettings},
		{"time to live", theTimeToLive},
		{"stored form", theStoredForm},
		{"attacks", theAttacks},
		{"border", theBorder},
		{"lists", theLists},
		{"filters", theFilters},
		{"acts", theActs},
		{"letters", theLetters},
		{"replicas", theReplicas},
	} {
		t.Run(part.name, func(t *testing.T) {
			t.Parallel()
			for _, c := range part.checks {
				t.Run(c.promise, func(t *testing.T) {
					t.Parallel()
					if c.heavy {
						heavy <- struct{}{}
						t.Cleanup(func() { <-heavy })
					}
					c.run(newScene(t, connect))
				})
			}
		})
	}
}

// A check holds the server to one promise. The number in the comment beside it
// is that of the behaviour, 1 to 36; "added" ones were found missing there.
type check struct {
	promise string
	run     func(s *scene)
	heavy   bool // keeps a processor busy
}

// heavy bounds how many of the busy checks run at the same time, on all servers
// together: on a small machine they would only starve each other's leases.
var heavy = make(chan struct{}, 2)
