package redistest

import (
	"cmp"
	"os"
	"os/exec"
	"testing"
)

// require finds the program of the servers, and skips or fails the test where it
// is missing.
func require(t testing.TB) (program string) {
	t.Helper()
	name := cmp.Or(os.Getenv("BOTSESSION_TEST_SERVER"), "redis-server")
	program, err := exec.LookPath(name)
	if err != nil {
		missing(t, name+" is not in PATH", name)
	}
	return program
}

// missing skips the test, or fails it if REQUIRE_REDIS=1 is set.
func missing(t testing.TB, what, install string) {
	t.Helper()
	if os.Getenv("REQUIRE_REDIS") == "1" {
		t.Fatalf("%s and REQUIRE_REDIS=1 is set: install the Debian package %s", what, install)
	}
	t.Skipf("%s: install the Debian package %s to run this test (REQUIRE_REDIS=1 makes this a failure)", what, install)
}
