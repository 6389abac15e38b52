package redistest

import (
	"cmp"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

// Waitaof among a server's arguments asks for one that knows the command
// WAITAOF: Redis 7.2 or Valkey. Where the usual program is older, that is
// valkey-server.
const Waitaof = "--needs-waitaof"

// require finds the program of a server with these arguments, and skips or fails
// the test where it is missing.
func require(t testing.TB, args []string) (program string) {
	t.Helper()
	usual := cmp.Or(os.Getenv("BOTSESSION_TEST_SERVER"), "redis-server")
	if !slices.Contains(args, Waitaof) {
		program, err := exec.LookPath(usual)
		if err != nil {
			missing(t, usual+" is not in PATH", usual)
		}
		return program
	}
	for _, name := range []string{usual, "valkey-server"} {
		if program, err := exec.LookPath(name); err == nil && knowsWaitaof(program) {
			return program
		}
	}
	missing(t, "no server that knows WAITAOF (Redis 7.2, Valkey) is in PATH", "valkey-server")
	return ""
}

// missing skips the test, or fails it if REQUIRE_REDIS=1 is set.
func missing(t testing.TB, what, install string) {
	t.Helper()
	if os.Getenv("REQUIRE_REDIS") == "1" {
		t.Fatalf("%s and REQUIRE_REDIS=1 is set: install the Debian package %s", what, install)
	}
	notRun.Add(1)
	t.Skipf("%s: install the Debian package %s to run this test (REQUIRE_REDIS=1 makes this a failure)", what, install)
}

var version = regexp.MustCompile(`^(Redis|Valkey) server v=(\d+)\.(\d+)`)

func knowsWaitaof(program string) bool {
	said, _ := exec.Command(program, "--version").Output()
	m := version.FindStringSubmatch(string(said))
	if m == nil {
		return false
	}
	major, _ := strconv.Atoi(m[2])
	minor, _ := strconv.Atoi(m[3])
	return m[1] == "Valkey" || major > 7 || major == 7 && minor >= 2
}
