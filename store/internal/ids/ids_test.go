package ids

import (
	"strings"
	"testing"
)

func TestADigestIsShortAndOfOneEvent(t *testing.T) {
	seen := map[Digest]string{}
	for _, id := range []string{"", "a", "b", "a ", strings.Repeat("a", 10_000)} {
		d := DigestOf(id)
		if other, ok := seen[d]; ok || len(d) != DigestSize || d != DigestOf(id) {
			t.Errorf("the digest of %.20q is %q, that of %.20q too", id, d, other)
		}
		seen[d] = id
	}
}

func TestACallSaysWhichReplicaMadeIt(t *testing.T) {
	for replica, n := range map[string]uint64{"bot-7f9c": 1, "a#b-7f9c": 36, "-": 1 << 63} {
		if c := NewCall(replica, n); c.Replica() != replica || c == NewCall(replica, n+1) {
			t.Errorf("call %d of %q is %q, of %q", n, replica, c, c.Replica())
		}
	}
	if got := Call("-").Replica(); got != "-" {
		t.Errorf("nobody's call is %q's", got)
	}
}

func TestRandomIDsAreOfSmallLettersAndDigits(t *testing.T) {
	a, b := Random(26), Random(26)
	if len(a) != 26 || a == b || strings.Trim(a+b, "abcdefghijklmnopqrstuvwxyz234567") != "" || len(Random(6)) != 6 {
		t.Errorf("%q, %q", a, b)
	}
}
