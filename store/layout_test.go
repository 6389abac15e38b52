package store

import (
	"fmt"
	"strings"
	"testing"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
)

func TestCRC16IsThatOfTheClusterSpecification(t *testing.T) {
	if got := crc16("123456789"); got != 0x31c3 {
		t.Errorf("crc16 = %#x, want 0x31c3", got)
	}
}

func TestBucketsSpreadEvenlyOverTheSlots(t *testing.T) {
	for _, buckets := range []int{1, 3, 16, 256, 1000, maxBuckets} {
		for nodes := 1; nodes <= min(buckets, 8); nodes++ {
			by := make([]int, nodes)
			for b := range buckets {
				by[int(crc16(bucketTag(b, buckets)))%slots*nodes/slots]++
			}
			for node, n := range by {
				if n < buckets/nodes-1 || n > buckets/nodes+2 {
					t.Errorf("%d buckets on %d nodes: node %d has %d", buckets, nodes, node, n)
				}
			}
			if buckets == maxBuckets {
				break
			}
		}
	}
}

func TestSessionsSpreadEvenlyOverTheBuckets(t *testing.T) {
	l := newLayout("bs", 256)
	for name, id := range map[string]func(int) string{
		"counted": func(i int) string { return fmt.Sprint(i) },
		"padded":  func(i int) string { return fmt.Sprintf("user-%08d@example.org", i) },
		"chats":   func(i int) string { return fmt.Sprint(-1001000000000 - int64(i)*7) },
	} {
		by := make([]int, 256)
		const n = 256 * 400
		for i := range n {
			by[l.place(session.Ref{Bot: "pizza", ID: id(i)}).bucket]++
		}
		for bucket, got := range by {
			if got < 300 || got > 500 {
				t.Errorf("%s ids: bucket %d has %d of %d, want about 400", name, bucket, got, n)
			}
		}
	}
}

func TestEveryKeyOfAScriptIsInTheBucketsSlot(t *testing.T) {
	l := newLayout("bs", 256)
	for _, id := range []string{"42", "{a}", "}{", "a:1", "a/b", "\x00", strings.Repeat("x", 512)} {
		at := l.place(session.Ref{Bot: "pizza", ID: id})
		tag := "bs:{" + bucketTag(at.bucket, 256) + "}:"
		for _, script := range lua.All {
			if script == lua.Beat || script == lua.Settings { // their keys are in no bucket
				continue
			}
			for i, key := range l.keys(script, at) {
				if !strings.HasPrefix(key, tag) {
					t.Errorf("%s: key %s of id %q is %q", script.Name, script.Keys[i], id, key)
				}
			}
		}
	}
}

func TestNoTwoKeysAreTheSame(t *testing.T) {
	l := newLayout("bs", 1)
	ids := []string{"a", "a:1", "a/b", "b", "s:a", "pizza/a", "{a}"}
	seen := map[string]string{}
	for _, bot := range []string{"pizza", "pizza:s", "s", "ttl"} {
		for _, id := range ids {
			at := l.place(session.Ref{Bot: bot, ID: id})
			for name := range forms {
				key, what := l.key(name, at), name
				if of := forms[name].of; of != ofBucket && of != ofStore {
					what += " of " + bot
					if of == ofSession {
						what += " " + id
					}
				}
				if other, ok := seen[key]; ok && other != what {
					t.Errorf("%q is the key of %s and of %s", key, other, what)
				}
				seen[key] = what
			}
		}
	}
}

func TestTheNameAndThePlaceOfEachKeyAreReadFromIt(t *testing.T) {
	l := newLayout("bs", 16)
	for _, bot := range []string{"pizza", "pizza:s", "s", "ttl"} {
		for _, id := range []string{"a", "a:1", "a/b", "s:a", "{a}", "}:", "\x00", strings.Repeat("x", 512)} {
			for name, form := range forms {
				want := l.place(session.Ref{Bot: bot, ID: id})
				switch form.of {
				case ofBot:
					want.ref.ID = ""
				case ofBucket, ofStore:
					want.ref = session.Ref{}
				}
				if !form.inBucket() {
					want.bucket = len(l.tags)
				}
				key := l.key(name, want)
				if got, at, ok := l.parse(key); !ok || got != name || at != want {
					t.Errorf("%q is read as %s of %+v, %t; want %s of %+v", key, got, at, ok, name, want)
				}
			}
		}
	}
	tag := l.tags[3]
	for _, key := range []string{
		"", "bs", "bs:", "bs:other", "bs:meta:", "bs:bots:pizza", "bs:s:pizza/1", "bs:i:pizza", "bs:serve:pizza", "bs:replicas:", "bs:replicas:a", "other:meta", "bs:ack:{bs:meta}",
		tag, tag + "z:pizza/1", tag + "s:pizza", tag + "s:pizza/", tag + "s:/1", tag + "s:pi zza/1", tag + "i:pizza/1", tag + "i:", tag + "b:", tag + "b:pizza",
		tag + "replicas", tag + "meta", tag + "s:pizza/" + strings.Repeat("x", 513), "bs:{16.3}:b", "bs:{16.x.1}:b", "bs:{16.16.1}:b", "bs:{16.-1.1}:b",
		"bs:{" + bucketTag(3, 32) + "}:b", "bs:{x}:b", "bs:{}:b",
	} {
		if name, at, ok := l.parse(key); ok {
			t.Errorf("%q is read as %s of %+v", key, name, at)
		}
	}
}

func TestOwnersShareTheBucketsAndKeepThemWhenOneLeaves(t *testing.T) {
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprintf("host-%d-abc%03d", i, i*37))
	}
	share, moved := map[string]int{}, 0
	for b := range 256 {
		before := owner(names, b)
		share[before]++
		if after := owner(names[1:], b); after != before && before != names[0] {
			moved++
		}
	}
	for _, name := range names {
		if share[name] < 3 || share[name] > 30 {
			t.Errorf("%s owns %d of 256 buckets, want about 13", name, share[name])
		}
	}
	if moved != 0 {
		t.Errorf("%d buckets of others moved when one replica left", moved)
	}
}
