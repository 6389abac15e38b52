package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// theAttacks are the corners in which a promise is hardest to keep: a fault
// upon a fault, a retry that comes late, work that outlives what it belongs to.
var theAttacks = []check{
	{promise: "an Update takes none of the events that wait", run: updateTakesNoEvent},
	{promise: "a call that may have been applied, and then is refused, ends with an unknown outcome", run: refusedAfterUnknown},
	{promise: "an answer is remembered as long as its caller may ask, whoever calls after it", run: answersOutlive},
	{promise: "a commit that is retried takes no second event, though the first outlived its window", run: commitAfterWindow},
	{promise: "the ids seen do not live for ever, though an event outlived its window", run: idsForgotten},
	{promise: "a commit that was applied, and whose retry is refused, loses no reply and makes no dead letter", run: refusedAfterCommit},
	{promise: "a server that does not take a commit is not the handler's failure", run: serverRefuses},
	{promise: "an event's crashes do not count against a reply", run: crashesOfEvent},
	{promise: "a reply's crashes do not count against the event behind it", run: crashesOfReply},
	{promise: "MaxTurn is of one Send, not of all replies that are sent together", run: maxTurnOfOneSend},
	{promise: "replies that outlived their session's hash are sent once", run: repliesOutliveHash},
	{promise: "all who wait for one event get the same status, also of a turn that ends its session", run: sameStatus},
	{promise: "a bot that accepts wakes the one that serves in the same process", run: wakesOwnProcess},
	{promise: "a session whose hash is taken away takes nothing of another one with it", run: tornApart},
	{promise: "sessions that cannot be read do not keep those behind them from being reaped", run: unreadableExpired},
	{promise: "sessions that cannot be read do not hide the work behind them", run: unreadableDue},
	{promise: "a bot's time to live that changes moves its sessions' end", run: ttlChanges},
	{promise: "a life after the end is as fresh as the first, though replies of the old one wait", run: freshAfterEnd},
	{promise: "the reaper leaves a session with work waiting as it is", run: reaperLeavesWork},
	{promise: "a late commit of an Update does not bring an expired session back", run: lateUpdate},
	{promise: "a watch key of another type is an error only where nothing changed", run: watchOfWrongType},
	{promise: "no handler runs once Serve has returned", run: handlerAfterServe},
	{promise: "a replica that stops gives back all that hangs at the same time", run: hungTogether},
	{promise: "what is accepted while its replica stops is handled by the next", run: acceptedWhileStopping},
}

// says is an error reply of the server.
type says string

func (e says) Error() string { return string(e) }

// RedisError is part of [redis.Error].
func (says) RedisError() {}

const (
	noMemory = says("OOM command not allowed when used memory > 'maxmemory'.")
	readonly = says("READONLY You can't write against a read only replica.")
)

// loseReplyThen executes the next request of a script and loses its reply; those after it
// get an error instead.
func (w *wire) loseReplyThen(script *lua.Script, err error) {
	first := true
	w.fail(script, func(_ context.Context, q request) error {
		if !first {
			return err
		}
		first = false
		return errors.Join(q.deliver(), io.EOF)
	})
}

func updateTakesNoEvent(s *scene) {
	var sent record[store.Delivery]
	bot := s.replica().bot("bot", sender(longLease, &sent))
	receipts := []*store.Receipt{s.accept(bot, "1", "before")}
	var saw []string
	s.ok(s.update(bot, "1", func(_ context.Context, t *store.Turn) error {
		saw = append(saw, t.Event().ID)
		receipts = append(receipts, s.accept(bot, "1", "meanwhile"))
		t.Reply("from the Update")
		return nil
	}))
	equal(s, "events that the Update saw", saw, []string{""})
	equal(s, "events waiting after the Update", s.status(bot.Session("1")).Waiting, 2)
	equal(s, "replies that the Update has sent by itself", len(sent.list()), 0)
	s.drain(bot, echo)
	equal(s, "replies sent", texts(sent.list()), []string{"from the Update", "re before", "re meanwhile"})
	for _, r := range receipts {
		s.handled(r)
	}
	equal(s, "chat", s.chat(bot.Session("1")), []string{"b from the Update", "u before", "b re before", "u meanwhile", "b re meanwhile"})
}

func refusedAfterUnknown(s *scene) {
	for what, refusal := range map[string]error{"an error reply": noMemory, "a closed client": redis.ErrClosed} {
		r := s.replicaWith(store.Options{Timeout: time.Second})
		sess := r.bot("bot", nil).Session(what)
		s.create(sess, store.Origin{})
		s.ok(sess.Touch(s.Context())) // loads the script
		r.loseReplyThen(lua.Change, refusal)
		err := sess.Record(s.Context(), session.Message{From: session.FromBot, Content: "hi"})
		s.is(err, session.ErrUnknownOutcome)
		s.is(err, refusal)
		r.fail(lua.Change, nil)
		equal(s, "chat after "+what, s.chat(sess), []string{"b hi"})
	}
}

func answersOutlive(s *scene) {
	const long = 30 * time.Second
	patient, hasty := s.replicaWith(store.Options{Timeout: long}), s.bot()
	sess := patient.bot("bot", nil).Session("1")
	s.create(sess, store.Origin{})
	s.ok(sess.Touch(s.Context())) // by now the key is there
	s.ok(sess.Record(s.Context(), session.Message{From: session.FromBot, Content: "hi"}))
	ctx, cancel := context.WithTimeout(s.Context(), time.Second)
	defer cancel()
	s.ok(hasty.Session("1").Touch(ctx))
	left, err := patient.client.PTTL(s.Context(), s.keys(patient.client, sess.Ref())["p"]).Result()
	s.ok(err)
	if left < long-patience/2 {
		s.Errorf("the answers live for %v, and a retry may come for %v", left, long)
	}
}

// outlive waits until the window of what was accepted just now is over, and the
// ids seen of the session have been forgotten with it.
func (s *scene) outlive(sess *store.Session, window time.Duration) {
	s.Helper()
	began := s.status(sess).Now
	s.eventually("the window is over", func() bool {
		return s.status(sess).Now.Sub(began) > time.Second+2*window // windows end on whole seconds
	})
}

func commitAfterWindow(s *scene) {
	const window = time.Second
	var sent record[store.Delivery]
	opts := sender(longLease, &sent)
	opts.DedupeWindow = window
	r := s.replica()
	bot, other := r.bot("bot", opts), s.replicaWith(store.Options{Timeout: window}).bot("bot", opts) // no window is shorter than that
	s.accept(other, "1", "one")
	two := s.accept(other, "1", "two")
	s.outlive(other.Session("1"), window)
	commits := 0
	r.fail(lua.Commit, func(_ context.Context, q request) error {
		err := q.deliver()
		if err == nil {
			commits++
		}
		if commits == 1 && err == nil {
			s.accept(other, "1", "three") // and forgets the ids whose window is over
			return io.EOF
		}
		return err
	})
	s.drain(bot, echo)
	s.handled(two)
	if commits < 4 {
		s.Errorf("%d commits reached the server, want three and a retry", commits)
	}
	equal(s, "chat", s.chat(bot.Session("1")), []string{"u one", "b re one", "u two", "b re two", "u three", "b re three"})
	equal(s, "replies sent", texts(sent.list()), []string{"re one", "re two", "re three"})
}

func idsForgotten(s *scene) {
	const window = time.Second
	r := s.replicaWith(store.Options{Timeout: window}) // no window is shorter than that
	bot := r.bot("bot", &options{DedupeWindow: window})
	s.accept(bot, "1", "hi")
	sess := bot.Session("1")
	s.outlive(sess, window)
	s.drain(bot, echo)
	s.ok(second(sess.Destroy(s.Context())))
	if key, there := s.keys(r.client, sess.Ref())["e"]; there {
		left, err := r.client.PTTL(s.Context(), key).Result()
		s.ok(err)
		if left == -1 { // -2: it is gone by now
			s.Errorf("the key %q lives for ever", key)
		}
	}
}

func refusedAfterCommit(s *scene) {
	var sent record[store.Delivery]
	opts := sender(500*time.Millisecond, &sent) // which the reply waits for
	opts.MaxAttempts = 1
	r := s.replicaWith(store.Options{Timeout: time.Second}) // which the refused retries go on for
	bot := r.bot("bot", opts)
	s.handledOnce(bot, "loads the scripts")
	receipt := s.accept(bot, "1", "hello")
	r.loseReplyThen(lua.Commit, noMemory)
	s.drain(bot, echo)
	r.fail(lua.Commit, nil)
	s.handled(receipt)
	s.eventually("the reply is sent", func() bool {
		s.drain(bot, echo)
		return s.status(bot.Session("1")).Unsent == 0
	})
	equal(s, "replies sent", texts(sent.list()), []string{"re hi", "re hello"})
	equal(s, "chat", s.chat(bot.Session("1")), []string{"u hello", "b re hello"})
	letters, err := bot.Session("1").DeadLetters(s.Context())
	s.ok(err)
	equal(s, "dead letters", len(letters), 0)
}

func serverRefuses(s *scene) {
	for what, refusal := range map[string]error{"no memory": noMemory, "a replica in its place": readonly} {
		r := s.replicaWith(store.Options{Timeout: time.Second})
		bot := r.bot("bot", &options{Lease: longLease, MaxAttempts: 1, Backoff: 10 * time.Millisecond})
		var attempts record[int]
		r.fail(lua.Commit, func(_ context.Context, q request) error {
			if len(attempts.list()) == 1 {
				return refusal
			}
			return q.deliver()
		})
		receipt := s.accept(bot, what, "hi")
		s.eventually("the event is handled", func() bool {
			s.drain(bot, func(ctx context.Context, t *store.Turn) error {
				attempts.add(t.Attempt())
				return echo(ctx, t)
			})
			return s.status(bot.Session(what)).Waiting == 0
		})
		s.handled(receipt)
		equal(s, "attempts at a server with "+what, attempts.list(), []int{1, 1})
		equal(s, "chat", s.chat(bot.Session(what)), []string{"u hi", "b re hi"})
	}
}

// perish has n replicas die, one after the other, of what they are handed out.
func (s *scene) perish(n int) {
	s.Helper()
	for i := range n {
		r := s.replica()
		died := false
		dies := func() error {
			died = true
			r.kill()
			return errors.New("the dead do nothing")
		}
		bot := r.bot("bot", &options{Lease: shortLease, MaxAttempts: 1,
			Send: func(context.Context, store.Delivery) error { return dies() }})
		ctx := s.limited()
		s.eventually(fmt.Sprintf("replica %d dies", i), func() bool {
			_, err := bot.Drain(ctx, func(context.Context, *store.Turn) error { return dies() }, s.with(bot))
			if !died {
				s.ok(err)
			}
			return died
		})
	}
}
