package storetest_test

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/internal/redistest"
	"github.com/botsession/botsession/store/storetest"
)

// Most of the suite's checks wait for something, so more of them than there are
// processors run at once, unless the command line says otherwise.
func TestMain(m *testing.M) {
	flag.Parse()
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == "test.parallel" })
	if !said {
		if err := flag.Set("test.parallel", "8"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	redistest.Main(m)
}

func TestConformanceMiniredis(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	go func() { // its keys live for ever unless somebody moves the time
		const tick = 50 * time.Millisecond
		ticker := time.NewTicker(tick)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				server.FastForward(tick)
			case <-t.Context().Done():
				return
			}
		}
	}()
	storetest.Conformance(t, connect("redis://"+server.Addr()))
}

func TestConformanceRedis(t *testing.T) {
	t.Parallel()
	storetest.Conformance(t, connect(redistest.Single(t)))
}

func TestConformanceCluster(t *testing.T) {
	t.Parallel()
	storetest.Conformance(t, connect(redistest.Cluster(t, 3)))
}

func TestConformanceSentinel(t *testing.T) {
	t.Parallel()
	storetest.Conformance(t, connect(redistest.Sentinel(t)))
}

func TestConformanceExternal(t *testing.T) {
	t.Parallel()
	storetest.Conformance(t, connect(redistest.External(t)))
}

// connect makes clients as a store would.
func connect(url string) func(t testing.TB) redis.UniversalClient {
	return func(t testing.TB) redis.UniversalClient {
		t.Helper()
		client, err := store.ParseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		return client
	}
}
