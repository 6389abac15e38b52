package store

import (
	"context"
	"errors"
	"testing"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/ids"
	"github.com/botsession/botsession/store/internal/redistest"
	"github.com/botsession/botsession/store/internal/stored"
)

// However often an event is delivered again, each time it has a digest of its own, and its
// root is what it was first accepted as.
func TestARedeliveredEventKeepsItsRoot(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	c := client(t, url)
	st := opened(t, url, nil)
	bot := botOf(t, st, "bot", &BotOptions{MaxAttempts: 1, RecordOnly: true})
	sess := bot.Session("1")
	_, err := bot.Accept(t.Context(), "1", session.Event{ID: "e", Text: "e"})
	noError(t, err)
	digests := map[ids.Digest]bool{}
	for n := range 4 {
		elements, err := c.LRange(t.Context(), st.Key("inbox", sess.Ref()), 0, -1).Result()
		noError(t, err)
		if len(elements) != 1 {
			t.Fatalf("%d events wait", len(elements))
		}
		a, err := stored.ReadAccepted([]byte(elements[0]))
		noError(t, err)
		root := string(ids.DigestOf("e"))
		if digests[a.Digest] || (n == 0) != (string(a.Digest) == root) {
			t.Errorf("delivery %d has the digest %x", n, a.Digest)
		}
		digests[a.Digest] = true
		if n == 0 {
			root = ""
		}
		if a.Root != root || a.Told != (n > 0) || a.From != st.tag {
			t.Errorf("delivery %d has the extras %+v, want the root %x", n, a.Extras, root)
		}
		_, err = bot.Drain(t.Context(), func(context.Context, *Turn) error { return errors.New("no") }, nil)
		noError(t, err)
		letters, err := sess.DeadLetters(t.Context())
		noError(t, err)
		if len(letters) != 1 {
			t.Fatalf("dead letters %+v", letters)
		}
		_, err = sess.Redeliver(t.Context(), letters[0].Time)
		noError(t, err)
	}
}
