package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// An event that accept hands out by its first lines waits in the session's hash; its
// turn ends by commit, if nothing else has happened to the session. What may happen
// meanwhile is tried here.
var theHand = []check{
	{promise: "a turn on an event in hand ends by commit, and what it sends is noted by the first lines of sent", run: handEnds},
	{promise: "an event in hand waits: for its receipt, in the status and in the chat", run: handWaits},
	{promise: "an event in hand is a duplicate of itself, and its own call gets it again", run: handAgain},
	{promise: "an event that leaves the hand before its call hears of it is no duplicate to that call", run: handCallKept},
	{promise: "an event in hand that nobody finishes is taken over", run: handTakenOver},
	{promise: "an event in hand that fails is tried again, and comes before one that came later", run: handFails},
	{promise: "an event in hand whose session loses its hash is accepted anew by its holder", run: handHashLost},
	{promise: "an event in hand is dropped by a destroy, and runs again after a reset", run: handRemoved},
	{promise: "what a live verb does during a turn in hand is not overwritten", run: handBesideVerbs},
	{promise: "events that come during a turn in hand are handled after it, in order", run: handBesideEvents},
	{promise: "a turn in hand whose calls lose their replies is made once", run: handLostReplies},
	{promise: "replicas that take turns on a session each see what the other did", run: handTurnsTaken},
	{promise: "a replica whose last turn a fail-over undid sees what others did since", run: handUndone},
	{promise: "an event that does not fit the hand waits in the inbox", run: handTooLarge},
	{promise: "a session whose hash is damaged is handed out no event", run: handDamaged},
	{promise: "a long turn in hand renews its lease, is listed from then on, and ends by settle", run: handRenewed},
}

// A handScene has a session with an event in hand, whose handler waits at the gate.
type handScene struct {
	*scene
	r     *replica
	bot   *store.Bot
	sess  *store.Session
	gate  *gate
	event *store.Receipt
	runs  atomic.Int32 // runs counts the runs of that event's handler.
}

// inHand makes one. Three turns come first: one that makes the session, and two by
// which the server knows the scripts.
func (s *scene) inHand(opts *options) *handScene {
	s.Helper()
	h := &handScene{scene: s, r: s.replica(), gate: s.gate()}
	opts.Lazy = true
	h.bot = h.r.bot("bot", opts)
	h.sess = h.bot.Session("1")
	s.serve(h.bot, h.handle)
	for i := range 3 {
		s.handled(s.accept(h.bot, "1", fmt.Sprint(i)))
		s.free(h.sess)
	}
	h.event = s.accept(h.bot, "1", "held")
	s.happens("the event is handed out", h.gate.arrived)
	if h.field() == "" {
		s.Fatalf("the event is not in hand")
	}
	return h
}

func (h *handScene) handle(ctx context.Context, t *store.Turn) error {
	if t.Event().Text == "held" {
		if h.runs.Add(1) == 1 {
			h.gate.pass()
		}
	}
	t.Set("last", t.Event().Text)
	return echo(ctx, t)
}

// field returns what is in hand.
func (h *handScene) field() string {
	return h.r.client.HGet(h.Context(), h.key(), "hand").Val()
}

func (h *handScene) key() string {
	h.Helper()
	return h.keys(h.r.client, h.sess.Ref())["s"]
}

// ends lets the event's handler go on, and waits until it is handled.
func (h *handScene) ends() {
	h.Helper()
	h.gate.open()
	h.handled(h.event)
}

// free waits until nobody holds a session and nothing is to be done for it.
func (s *scene) free(sess *store.Session) {
	s.Helper()
	s.eventually("the session is free", func() bool {
		st := s.status(sess)
		return st.Lease.Work == session.WorkNone && st.Waiting+st.Unsent == 0
	})
}

func (h *handScene) said(lines ...string) {
	h.Helper()
	var want []string
	for _, text := range append([]string{"0", "1", "2"}, lines...) {
		want = append(want, "u "+text, "b re "+text)
	}
	equal(h.scene, "chat", h.chat(h.sess), want)
}

func handEnds(s *scene) {
	var sent record[store.Delivery]
	for _, opts := range []*options{{Lease: longLease}, sender(longLease, &sent)} {
		if opts.Send != nil {
			s = &scene{T: s.T, connect: s.connect, space: s.space + "s"}
		}
		h := s.inHand(opts)
		before := len(h.r.scripts(lua.Commit, lua.Settle))
		version, token := s.load(h.sess).Version, s.status(h.sess).Lease.Token
		h.ends()
		s.free(h.sess)
		equal(s, "how it ended", h.r.scripts(lua.Commit, lua.Settle)[before:], []string{"commit"})
		equal(s, "version", s.load(h.sess).Version, version+1)
		h.said("held")
		s.handled(s.accept(h.bot, "1", "next"))
		s.free(h.sess)
		if next := s.status(h.sess).Lease.Token; len(next) < len(token) || next <= token {
			s.Errorf("the token of the next hand-out is %s, after %s", next, token)
		}
		if opts.Send != nil {
			equal(s, "replies sent", texts(sent.list()), []string{"re 0", "re 1", "re 2", "re held", "re next"})
		}
	}
}

func handWaits(s *scene) {
	h := s.inHand(&options{Lease: longLease})
	equal(s, "waiting", s.status(h.sess).Waiting, 1)
	equal(s, "sessions that wait: one whose event was handed out at once is none", len(all(s, h.bot.Waiting(s.Context()))), 0)
	counts, err := h.bot.Counts(s.Context())
	s.ok(err)
	equal(s, "sessions with work, counted", counts.Due, 1)
	waits := s.history(h.sess, session.All().WithWaiting())
	if last := waits[len(waits)-1]; !last.Waiting || last.String() != "held" {
		s.Errorf("the last message is %+v, want the event that waits", last)
	}
	other := s.replica().bot("bot", nil)
	ctx, cancel := context.WithCancelCause(s.Context())
	cancel(errors.New("enough"))
	if _, err := other.Receipt("1", h.event.EventID).Wait(ctx); errors.Is(err, session.ErrNotFound) {
		s.Errorf("a receipt of an event in hand: %v", err)
	}
	h.ends()
	h.said("held")
}

func handAgain(s *scene) {
	h := s.inHand(&options{Lease: longLease})
	again, err := s.replica().bot("bot", nil).Accept(s.Context(), "1", session.Event{ID: h.event.EventID, Text: "held"})
	s.ok(err)
	equal(s, "the same id is a duplicate", again.Duplicate, true)
	h.ends()
	again, err = h.bot.Accept(s.Context(), "1", session.Event{ID: h.event.EventID, Text: "held"})
	s.ok(err)
	equal(s, "the same id is a duplicate after its turn", again.Duplicate, true)
	h.r.loseReplies(lua.Accept, 2)
	s.handled(s.accept(h.bot, "1", "lost"))
	h.said("held", "lost")
}

func handTakenOver(s *scene) {
	h := s.inHand(&options{Lease: shortLease})
	h.r.kill()
	heir := s.replica().bot("bot", nil)
	var attempt atomic.Int32
	s.serve(heir, func(ctx context.Context, t *store.Turn) error {
		attempt.Store(int32(t.Attempt()))
		again, err := heir.Accept(s.Context(), "1", session.Event{ID: h.event.EventID, Text: "held"})
		s.ok(err)
		equal(s, "the same id is a duplicate when another has it", again.Duplicate, true)
		return echo(ctx, t)
	})
	s.handled(heir.Receipt("1", h.event.EventID))
	equal(s, "attempt", attempt.Load(), 2)
	h.sess = heir.Session("1")
	h.said("held")
}

func handFails(s *scene) {
	h := &handScene{scene: s, r: s.replica(), gate: s.gate()}
	h.bot = h.r.bot("bot", &options{Lease: longLease})
	h.sess = h.bot.Session("1")
	var attempts record[int]
	s.serve(h.bot, func(ctx context.Context, t *store.Turn) error {
		if t.Event().Text == "held" {
			attempts.add(t.Attempt())
			if len(attempts.list()) == 1 {
				h.gate.pass()
			}
			if len(attempts.list()) < 3 {
				return store.RetryAfter(0, errors.New("not yet"))
			}
		}
		return echo(ctx, t)
	})
	for i := range 3 {
		s.handled(s.accept(h.bot, "1", fmt.Sprint(i)))
		s.free(h.sess)
	}
	h.event = s.accept(h.bot, "1", "held")
	s.happens("the event is handed out", h.gate.arrived)
	later := s.accept(h.bot, "1", "later")
	h.ends()
	s.handled(later)
	equal(s, "attempts", attempts.list(), []int{1, 2, 3})
	h.said("held", "later")
}

func handHashLost(s *scene) {
	h := s.inHand(&options{Lease: longLease})
	s.ok(h.r.client.Del(s.Context(), h.key()).Err())
	h.ends()
	equal(s, "runs", h.runs.Load(), 2)
	chat := s.chat(h.sess)
	equal(s, "chat", chat[len(chat)-2:], []string{"u held", "b re held"})
}

func handRemoved(s *scene) {
	h := s.inHand(&options{Lease: longLease})
	dropped, err := h.sess.Destroy(s.Context())
	s.ok(err)
	equal(s, "events dropped", dropped.Events, 1)
	h.gate.open()
	equal(s, "outcome", s.outcome(s.replica().bot("bot", nil).Receipt("1", h.event.EventID)).Status, session.Dropped)
	s.gone(h.sess)

	s = &scene{T: s.T, connect: s.connect, space: s.space + "r"}
	h = s.inHand(&options{Lease: longLease})
	s.ok(h.sess.Reset(s.Context(), session.DropChat))
	h.ends()
	equal(s, "runs", h.runs.Load(), 2)
	equal(s, "chat", s.chat(h.sess), []string{"u held", "b re held"})
}

func handBesideVerbs(s *scene) {
	h := s.inHand(&options{Lease: longLease})
	s.ok(second(h.sess.Apply(s.Context(), session.Change{Set: map[string]any{"live": "yes"}})))
	s.ok(h.sess.Reply(s.Context(), "live"))
	h.ends()
	snap := s.load(h.sess)
	equal(s, "what the verb set", snap.Data["live"], any("yes"))
	equal(s, "chat", s.chat(h.sess)[6:], []string{"b live", "u held", "b re held"})
}

func handBesideEvents(s *scene) {
	h := s.inHand(&options{Lease: longLease})
	var receipts []*store.Receipt
	var want []string
	for i := range 5 {
		text := fmt.Sprint("later ", i)
		want = append(want, text)
		receipts = append(receipts, s.accept(s.replica().bot("bot", nil), "1", text))
	}
	h.ends()
	for _, r := range receipts {
		s.handled(h.bot.Receipt("1", r.EventID))
	}
	h.said(append([]string{"held"}, want...)...)
}

func handLostReplies(s *scene) {
	var sent record[store.Delivery]
	for _, script := range []*lua.Script{lua.Accept, lua.Commit, lua.Sent} {
		for _, n := range []int{1, 2} {
			s := &scene{T: s.T, connect: s.connect, space: s.space + script.Name + fmt.Sprint(n)}
			sent = record[store.Delivery]{}
			h := s.inHand(sender(longLease, &sent))
			h.ends()
			s.free(h.sess)
			h.r.loseReplies(script, n)
			s.handled(s.accept(h.bot, "1", "a"))
			s.free(h.sess)
			h.r.fail(script, nil)
			s.handled(s.accept(h.bot, "1", "b"))
			s.free(h.sess)
			h.said("held", "a", "b")
			equal(s, "sent with lost replies of "+script.Name, texts(sent.list()), []string{"re 0", "re 1", "re 2", "re held", "re a", "re b"})
		}
	}
}

func handTurnsTaken(s *scene) {
	var bots []*store.Bot
	for range 3 {
		bot := s.replica().bot("bot", &options{Lease: longLease})
		s.serve(bot, func(_ context.Context, t *store.Turn) error {
			n, _ := t.Get("n")
			before, _ := n.(int64)
			t.Set("n", before+1)
			return nil
		})
		bots = append(bots, bot)
	}
	for i := range 60 {
		// Each three turns in a row, so that it knows the record at the second and at the next third.
		s.handled(s.accept(bots[i/3%3], "1", fmt.Sprint(i)))
	}
	equal(s, "turns counted", s.load(bots[0].Session("1")).Data["n"], any(int64(60)))
}

func handTooLarge(s *scene) {
	h := s.inHand(&options{Lease: longLease})
	h.ends()
	s.free(h.sess)
	large := strings.Repeat("x", 5000)
	before := len(h.r.scripts(lua.Commit, lua.Settle))
	for _, e := range []session.Event{{ID: "large", Text: large}, {ID: "payload", Text: "p", Payload: strings.Repeat("x", 500)}} {
		r, err := h.bot.Accept(s.Context(), "1", e)
		s.ok(err)
		s.handled(r)
		s.free(h.sess)
	}
	equal(s, "how they ended", h.r.scripts(lua.Commit, lua.Settle)[before:], []string{"settle", "settle"})
	h.said("held", large, "p")
}

func handDamaged(s *scene) {
	h := s.inHand(&options{Lease: longLease})
	h.ends()
	s.free(h.sess)
	hash := h.r.client.HGetAll(s.Context(), h.key()).Val()
	for _, field := range []string{"state", "rec"} {
		s.ok(h.r.client.HDel(s.Context(), h.key(), field).Err())
		_, err := h.bot.Accept(s.Context(), "1", session.Event{ID: "without " + field, Text: "a"})
		s.is(err, session.ErrCorrupt)
		s.ok(h.r.client.HSet(s.Context(), h.key(), field, hash[field]).Err())
	}
	s.handled(s.accept(h.bot, "1", "mended"))
	h.said("held", "mended")
}

func handRenewed(s *scene) {
	h := s.inHand(&options{Lease: shortLease * 3})
	renewed := make(chan struct{})
	h.r.fail(lua.Renew, func(_ context.Context, q request) error {
		err := q.deliver()
		select {
		case <-renewed:
		default:
			close(renewed)
			return io.EOF // the first renewal's reply is lost, too
		}
		return err
	})
	s.happens("the lease is renewed", renewed)
	s.eventually("it is listed", func() bool { return len(all(s, h.bot.Waiting(s.Context()))) == 1 })
	before := len(h.r.scripts(lua.Commit, lua.Settle))
	h.ends()
	h.said("held")
	s.free(h.sess)
	if ended := h.r.scripts(lua.Commit, lua.Settle)[before:]; !slices.Contains(ended, "settle") {
		s.Errorf("the turn ended by %v, want settle", ended)
	}
	equal(s, "sessions that wait, after the turn", len(all(s, h.bot.Waiting(s.Context()))), 0)
}
