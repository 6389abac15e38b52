package storetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// Of each setting: that it is kept, and that it is the stored one by which a process
// goes that says something else.
var eachSetting = []check{
	{promise: "RecordOnly is the bot's, whoever makes a reply", run: whoSends},
	{promise: "Initial is the bot's, whoever asks", run: initialOfTheBot},
	{promise: "TTL is the bot's, whoever asks", run: ttlOfTheBot},
	{promise: "HistoryLimit is the bot's, whoever asks", run: historyLimitOfTheBot},
	{promise: "InboxLimit is the bot's, whoever asks", run: inboxLimitOfTheBot},
	{promise: "InboxBytes is the bot's, whoever asks", run: inboxBytesOfTheBot},
	{promise: "DedupeWindow is the bot's, whoever asks, and a shorter one breaks no promise", run: windowOfTheBot},
	{promise: "an id is remembered for as long as its own call may be retried, however short DedupeWindow is", run: windowOfACall},
	{promise: "MaxAttempts is the bot's, whoever asks", run: maxAttemptsOfTheBot},
	{promise: "Backoff is the bot's, whoever asks", run: backoffOfTheBot},
	{promise: "MaxWait is the bot's, whoever asks", run: maxWaitOfTheBot},
	{promise: "DeadLimit is the bot's, whoever asks", run: deadLimitOfTheBot},
}

// webhook returns the bot of a process that says something else in each setting, when
// another has declared these.
func (s *scene) webhook(o *options) *store.Bot {
	s.Helper()
	worker := s.replica().bot("bot", o)
	brings := s.with(worker)
	webhook, err := s.replica().Bot(s.Context(), "bot", &store.BotOptions{
		Initial: "theirs", TTL: 77 * time.Hour, HistoryLimit: 77, InboxLimit: 77, InboxBytes: 7777, DedupeWindow: 77 * time.Hour,
		MaxAttempts: 77, Backoff: 77 * time.Millisecond, MaxWait: 77 * time.Hour, DeadLimit: 77, RecordOnly: brings != nil && brings.Send != nil,
	})
	s.ok(err)
	s.brings.Store(webhook, brings)
	return webhook
}

func whoSends(s *scene) {
	var sent record[store.Delivery]
	opts := sender(longLease, &sent)
	webhook, worker := s.webhook(opts), s.replica().bot("bot", opts)
	both := func(err error) {
		s.Helper()
		s.is(err, session.ErrInvalid)
		if err != nil && (!strings.Contains(err.Error(), "ServeOptions.Send") || !strings.Contains(err.Error(), "BotOptions.RecordOnly")) {
			s.Errorf("error %q, want both ways out", err)
		}
	}
	both(webhook.Serve(s.limited(), echo, nil))
	both(second(webhook.Drain(s.limited(), echo, &store.ServeOptions{})))
	s.serve(worker, echo)
	s.replicas(worker, 1)
	s.handled(s.accept(webhook, "1", "turn"))
	s.ok(webhook.Session("1").Reply(s.Context(), "live"))
	s.ok(s.update(webhook, "1", func(_ context.Context, t *store.Turn) error { t.Reply("update"); return nil }))
	s.eventually("all are sent", func() bool { return len(sent.list()) == 3 })
	equal(s, "replies sent", texts(sent.list()), []string{"re turn", "live", "update"})

	records := s.replica().bot("records", nil)
	both(records.Serve(s.limited(), echo, &store.ServeOptions{Send: opts.Send}))
	both(second(records.Drain(s.limited(), echo, &store.ServeOptions{Send: opts.Send})))
	ended := make(chan error, 1)
	go func() { ended <- records.Serve(s.Context(), echo, nil) }()
	equal(s, "replies", lines(s.handled(s.accept(records, "1", "turn"))), []string{"b re turn"})
	s.ok(records.Session("1").Reply(s.Context(), "live"))
	equal(s, "replies that wait to be sent", s.status(records.Session("1")).Unsent, 0)
	s.configure(records, func(o *store.BotOptions) { o.RecordOnly = false })
	both(receive(s, "Serve without Send ends", ended))
	equal(s, "replies sent in the end", len(sent.list()), 3)
}

func initialOfTheBot(s *scene) {
	webhook := s.webhook(&options{Initial: "greeting"})
	s.accept(webhook, "accepted", "hi")
	s.create(webhook.Session("created"), store.Origin{})
	for _, id := range []string{"accepted", "created"} {
		equal(s, "state of the session "+id, s.load(webhook.Session(id)).State, "greeting")
	}
	s.ok(webhook.Session("created").Reset(s.Context(), session.DropChat))
	equal(s, "state after a reset", s.load(webhook.Session("created")).State, "greeting")
}

func ttlOfTheBot(s *scene) {
	webhook := s.webhook(&options{TTL: time.Hour})
	sess := webhook.Session("1")
	for what, touch := range map[string]func(){
		"Accept": func() { s.accept(webhook, "1", rand.Text()) }, "a turn": func() { s.drain(webhook, echo) },
		"Touch": func() { s.ok(sess.Touch(s.Context())) }, "Record": func() { s.ok(sess.Record(s.Context(), session.Message{Content: "hi"})) },
		"Update": func() {
			s.ok(s.update(webhook, "1", func(_ context.Context, t *store.Turn) error { t.Set("k", 1); return nil }))
		},
	} {
		if _, err := sess.Load(s.Context()); err != nil {
			s.create(sess, store.Origin{})
			snap := s.load(sess)
			equal(s, "time to live after Create", snap.Expires.Sub(snap.Active), time.Hour)
		}
		touch()
		snap := s.load(sess)
		equal(s, "time to live after "+what, snap.Expires.Sub(snap.Active), time.Hour)
	}
}

func historyLimitOfTheBot(s *scene) {
	webhook := s.webhook(&options{HistoryLimit: 3})
	sess := webhook.Session("1")
	s.create(sess, store.Origin{})
	for i := range 5 {
		s.ok(sess.Record(s.Context(), session.Message{Content: fmt.Sprint(i)}))
	}
	equal(s, "chat", s.chat(sess), []string{"b 2", "b 3", "b 4"})
	s.say(webhook, "1", session.Event{Text: "hi"}, echo)
	equal(s, "chat after a turn", s.chat(sess), []string{"b 4", "u hi", "b re hi"})
}

func inboxLimitOfTheBot(s *scene) {
	webhook := s.webhook(&options{InboxLimit: 2})
	s.accept(webhook, "1", "a")
	s.accept(webhook, "1", "b")
	_, err := webhook.Accept(s.Context(), "1", session.Event{ID: "c", Text: "c"})
	s.is(err, session.ErrInboxFull)
}

func inboxBytesOfTheBot(s *scene) {
	webhook := s.webhook(&options{InboxBytes: 1000})
	_, err := webhook.Accept(s.Context(), "1", session.Event{ID: "a", Text: strings.Repeat("x", 2000)})
	s.is(err, session.ErrTooLarge)
}

func windowOfTheBot(s *scene) {
	const brief = 100 * time.Millisecond
	brisk := store.Options{Timeout: time.Second} // an id is remembered for at least as long
	worker := s.replicaWith(brisk).bot("bot", nil)
	other := s.replicaWith(brisk).bot("bot", &options{DedupeWindow: brief}) // differs, and changes nothing
	s.accept(other, "1", "promised for a day")
	s.drain(worker, echo)
	s.configure(worker, func(o *store.BotOptions) { o.DedupeWindow = brief })
	webhook := s.replicaWith(brisk).bot("bot", nil)
	s.accept(webhook, "1", "promised for a moment")
	s.drain(worker, echo)
	s.eventually("the id with a short promise is forgotten", func() bool {
		time.Sleep(brief)
		r, err := webhook.Accept(s.Context(), "1", session.Event{ID: "promised for a moment", Text: "hi"})
		s.ok(err)
		s.drain(worker, echo)
		return !r.Duplicate
	})
	equal(s, "the other is a duplicate", s.accept(webhook, "1", "promised for a day").Duplicate, true)
}

func windowOfACall(s *scene) {
	worker := s.replicaWith(store.Options{Timeout: 300 * time.Millisecond}).bot("bot", &options{DedupeWindow: time.Millisecond})
	r := s.replica()
	webhook := r.bot("bot", nil)
	quiet := func(context.Context, *store.Turn) error { return nil }
	var once sync.Once
	r.fail(lua.Accept, func(_ context.Context, q request) (err error) { // the first reply is lost, and that shows late
		err = q.deliver()
		once.Do(func() {
			s.drain(worker, quiet)
			time.Sleep(2500 * time.Millisecond) // longer than the window and the worker's own calls
			err = io.EOF
		})
		return err
	})
	s.accept(webhook, "1", "hi")
	s.drain(worker, quiet)
	equal(s, "chat", s.chat(worker.Session("1")), []string{"u hi"})
}

func maxAttemptsOfTheBot(s *scene) {
	webhook := s.webhook(&options{MaxAttempts: 1})
	r := s.accept(webhook, "1", "hi")
	s.drain(webhook, func(context.Context, *store.Turn) error { return errors.New("no") })
	equal(s, "outcome", s.outcome(r).Status, session.Dead)
}

func backoffOfTheBot(s *scene) {
	webhook := s.webhook(&options{Backoff: time.Hour})
	s.accept(webhook, "1", "hi")
	s.drain(webhook, func(context.Context, *store.Turn) error { return errors.New("no") })
	status := s.status(webhook.Session("1"))
	if wait := status.Event.At.Sub(status.Now); wait < 50*time.Minute || wait > time.Hour {
		s.Errorf("the next attempt is in %v, want an hour", wait)
	}
}

func maxWaitOfTheBot(s *scene) {
	off := map[string]error{"1": store.RetryAfter(time.Millisecond, errors.New("flood wait")), "2": store.Later(errors.New("the platform is down"))}
	webhook := s.webhook(&options{MaxWait: 50 * time.Millisecond, Backoff: time.Millisecond, MaxAttempts: 1, Send: func(_ context.Context, d store.Delivery) error {
		return off[d.Ref.ID]
	}})
	for id := range off {
		s.create(webhook.Session(id), store.Origin{})
		s.ok(webhook.Session(id).Reply(s.Context(), "hello"))
	}
	off["3"] = store.Later(errors.New("the provider is down"))
	event := s.accept(webhook, "3", "hi")
	for id, err := range off {
		var letters []session.DeadLetter
		s.eventually("what is put off is given up", func() bool {
			s.drain(webhook, func(context.Context, *store.Turn) error { return off["3"] })
			var failed error
			letters, failed = webhook.Session(id).DeadLetters(s.Context())
			s.ok(failed)
			return len(letters) > 0
		})
		equal(s, "dead letters", len(letters), 1)
		equal(s, "an event", letters[0].Event != nil, id == "3")
		equal(s, "a reply", letters[0].Reply != nil, id != "3")
		equal(s, "failures", letters[0].Failures, 0)
		equal(s, "error", letters[0].Error, "put off for 50ms (BotOptions.MaxWait): "+err.Error())
	}
	equal(s, "outcome", s.outcome(event).Status, session.Dead)
	equal(s, "chat", s.chat(webhook.Session("3")), []string{"u hi"})
}

func deadLimitOfTheBot(s *scene) {
	webhook := s.webhook(&options{DeadLimit: 2, MaxAttempts: 1})
	for i := range 4 {
		s.accept(webhook, "1", fmt.Sprint(i))
		s.drain(webhook, func(context.Context, *store.Turn) error { return errors.New("no") })
	}
	letters, err := webhook.Session("1").DeadLetters(s.Context())
	s.ok(err)
	if len(letters) != 2 || letters[0].Event.ID != "2" || letters[1].Event.ID != "3" {
		s.Errorf("dead letters %+v, want the last two", letters)
	}
}
