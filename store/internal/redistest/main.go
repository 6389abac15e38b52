package redistest

import (
	"flag"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
)

// notRun counts the tests that were skipped because a server is not installed.
var notRun atomic.Int64

// Main is the TestMain of a package whose tests start servers. In the end it says
// how many of them did not run, why, and how to run them: go shows that with -v,
// and of a package that fails.
func Main(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if n := notRun.Load(); n > 0 {
		fmt.Fprintf(os.Stderr, "%d checks did not run: they need a Redis server. Install the Debian package redis-server (some need valkey-server); REQUIRE_REDIS=1 makes this a failure\n", n)
	}
	os.Exit(code)
}
