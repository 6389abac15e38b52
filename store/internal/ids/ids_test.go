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

func TestTheDigestOfALetterIsOfItsTimeAndItsEvent(t *testing.T) {
	seen := map[Digest]bool{}
	for _, stamp := range []string{"123456", "123457"} {
		for _, had := range []Digest{DigestOf("a"), DigestOf("b"), DigestOfLetter(stamp, DigestOf("a"))} {
			d := DigestOfLetter(stamp, had)
			if seen[d] || len(d) != DigestSize || d == DigestOf(stamp+string(had)) || d != DigestOfLetter(stamp, had) {
				t.Errorf("the digest of the letter of %q and %x is %x", stamp, had, d)
			}
			seen[d] = true
		}
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

func TestTheEndOfACallIsOfItsReplicaAndItsNumber(t *testing.T) {
	seen := map[End]Call{}
	for _, replica := range []string{"bot-7f9c", "bot-7f9d", "a#b-7f9c", "-"} {
		for _, n := range []uint64{0, 1, 35, 36, 255, 256, 65536, 1<<24 - 1} {
			c := NewCall(replica, n)
			end := c.End()
			if other, ok := seen[end]; ok || len(end) != EndSize || string(end[:TagSize]) != TagOf(replica) || end != NewCall(replica, n+1<<24).End() {
				t.Errorf("the end of %q is %x, that of %q too", c, end, other)
			}
			seen[end] = c
		}
	}
	if len(Nobody) != EndSize || seen[Nobody] != "" {
		t.Errorf("nobody's end is %x, that of %q", Nobody, seen[Nobody])
	}
}

func TestRandomIDsAreOfSmallLettersAndDigits(t *testing.T) {
	a, b := Random(26), Random(26)
	if len(a) != 26 || a == b || strings.Trim(a+b, "abcdefghijklmnopqrstuvwxyz234567") != "" || len(Random(6)) != 6 {
		t.Errorf("%q, %q", a, b)
	}
}
