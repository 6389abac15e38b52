package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// A Replica is one process that serves the demo's bot. The demo starts it, and
// tells it what to do by one JSON line on In, which then stays open: when it ends,
// the demo is gone, and so goes the replica. It answers with one JSON line on Out.
// (What it is told may hold a password, so it stands neither in the arguments nor
// in the environment.)
//
// With Listen it is a replica without a demo: a bot that repeats what it is told.
// Its replies go to Out, one JSON object a line.
type Replica struct {
	Open Open      // Open opens the store.
	In   io.Reader // In is where the demo's line comes from.
	Out  io.Writer // Out gets what the demo reads, or the replies.
	Err  io.Writer // Err gets the log.

	Listen    string // Listen is the address of the webhook. Empty: the demo started this process.
	Redis     string // Redis is the server's URL, with Listen.
	Namespace string // Namespace is the first part of every key, with Listen.
	Bot       string // Bot is the bot's name, with Listen.
}

// ErrNoDemo says that a replica without Listen was not started by the demo.
var ErrNoDemo = errors.New("this command is started by the demo")

// replicaConfig is the line that a replica is told.
type replicaConfig struct {
	Name      string        `json:"name"`
	Redis     string        `json:"redis"`
	Namespace string        `json:"namespace"`
	Bot       string        `json:"bot"`
	Platform  string        `json:"platform"` // where the replies go; empty: to stdout
	TTL       time.Duration `json:"ttl"`
	Lease     time.Duration `json:"lease"`
	Work      time.Duration `json:"work"` // how long the handler takes
	Verbose   bool          `json:"verbose"`
}

// replicaHello is the line that a replica answers when it serves.
type replicaHello struct {
	Address string `json:"address"` // of its webhook
}

// webhookEvent is what the platform posts to a replica.
type webhookEvent struct {
	Session string  `json:"session"`
	ID      string  `json:"id"`
	Text    string  `json:"text"`
	Payload payload `json:"payload"`
}

// payload is what the dialogue says of a turn, which real bots find out.
type payload struct {
	Intent string            `json:"intent"`
	Slots  map[string]string `json:"slots"`
	Reply  string            `json:"reply"`
}

// webhookAnswer is what a replica answers when it accepted an event.
type webhookAnswer struct {
	Duplicate bool `json:"duplicate"`
}

// postedReply is what a replica posts to the platform.
type postedReply struct {
	Session   string `json:"session"`
	Key       string `json:"key"` // the same for each copy of a reply
	Text      string `json:"text"`
	TakenOver bool   `json:"taken_over"` // another replica had the turn in hand before and died
}

// demoReplica is a bot's replica as a real one would be written: a webhook that
// accepts events, and a handler without any state of its own.
type demoReplica struct {
	replicaConfig
	bot    *store.Bot
	client *http.Client
	out    io.Writer // for replies, where there is no platform

	mu   sync.Mutex
	runs map[string]ran // session id -> the last turn that this replica ran
}

// ran is a turn that this replica ran.
type ran struct {
	seq     int64 // of the chat before it
	attempt int
}

// Serve serves the bot, and its webhook, until ctx or the demo ends.
func (r Replica) Serve(ctx context.Context) error {
	if r.Listen != "" {
		return r.serve(ctx, replicaConfig{Redis: r.Redis, Namespace: r.Namespace, Bot: r.Bot}, r.Listen)
	}
	in := bufio.NewReader(r.In)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return ErrNoDemo
	}
	var config replicaConfig
	if err := json.Unmarshal(line, &config); err != nil {
		return fmt.Errorf("read the demo's line: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		io.Copy(io.Discard, in) // until the demo is gone
		cancel()
	}()
	return r.serve(ctx, config, "127.0.0.1:0")
}

// serve serves the bot, and its webhook at the address listen, until ctx ends.
func (how Replica) serve(ctx context.Context, config replicaConfig, listen string) error {
	r := &demoReplica{replicaConfig: config, out: how.Out, runs: map[string]ran{}, client: keepAlive(64)}
	level := slog.LevelWarn
	if r.Verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(how.Err, &slog.HandlerOptions{Level: level}))
	st, err := how.Open(ctx, r.Redis, &store.Options{Namespace: r.Namespace, Name: r.Name, Lease: r.Lease, Logger: log})
	if err != nil {
		return err
	}
	defer st.Close()
	if r.bot, err = st.Bot(ctx, r.Bot, &store.BotOptions{Initial: initialState, TTL: r.TTL}); err != nil {
		return err
	}
	brings := &store.ServeOptions{
		Send:  r.send,
		Grace: 2 * time.Second,
		Dead: func(_ context.Context, d session.DeadLetter) {
			log.Error("dead letter", "session", d.Ref.String(), "error", d.Error)
		},
	}

	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /webhook", r.webhook)
	server := &http.Server{Handler: mux, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelInfo)}
	served := make(chan error, 2)
	go func() { served <- server.Serve(listener) }()
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	go func() { served <- r.bot.Serve(serving, r.handle, brings) }()
	if err := text.WriteJSON(how.Out, replicaHello{listener.Addr().String()}); err != nil {
		return err
	}

	select {
	case <-ctx.Done():
	case err := <-served:
		return err
	}
	// Take nothing new, then finish what runs.
	shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	server.Shutdown(shutdown)
	<-served
	stopServing()
	return <-served
}

// webhook accepts an event. An error means that it was not accepted, or that
// nobody knows: the platform delivers it again.
func (r *demoReplica) webhook(w http.ResponseWriter, req *http.Request) {
	var e webhookEvent
	if err := json.NewDecoder(io.LimitReader(req.Body, 4*maxLine)).Decode(&e); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	receipt, err := r.bot.Accept(req.Context(), e.Session, session.Event{
		ID: e.ID, Text: e.Text, Payload: e.Payload, Platform: "demo", User: e.Session,
	})
	switch {
	case errors.Is(err, session.ErrInvalid):
		http.Error(w, err.Error(), http.StatusBadRequest) // it will never be accepted
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	default:
		json.NewEncoder(w).Encode(webhookAnswer{Duplicate: receipt.Duplicate})
	}
}

// handle is the bot: it predicts what the dialogue says, moves to the intent
// when it changes, keeps the slots, and replies.
func (r *demoReplica) handle(ctx context.Context, t *store.Turn) error {
	var p payload
	if !t.Payload(&p) && r.Platform != "" {
		return store.GiveUp(errors.New("the event has no payload"))
	}
	if r.Platform == "" && p.Reply == "" {
		p.Reply = "You said: " + t.Event().Text
	}
	before := t.Snapshot()
	r.mu.Lock()
	r.runs[t.Ref().ID] = ran{before.Seq, t.Attempt()}
	r.mu.Unlock()
	if err := sleep(ctx, r.Work); err != nil {
		return err
	}
	if p.Intent != "" {
		t.SetIntent(&session.Intent{Name: p.Intent, Score: 1, Sentence: t.Event().Text})
		if p.Intent != t.State() {
			t.Move(p.Intent)
		}
	}
	for name := range before.Data {
		if _, known := p.Slots[name]; !known {
			t.Delete(name)
		}
	}
	for name, value := range p.Slots {
		t.Set(name, value)
	}
	if p.Reply != "" {
		t.Reply(p.Reply)
	}
	return nil
}

// send posts a reply to the platform. The turn was taken over if its handler
// ran again after it was handed to a replica that was never heard of again, or
// if the replica that committed it is not the one that sends.
func (r *demoReplica) send(ctx context.Context, d store.Delivery) error {
	r.mu.Lock()
	run, here := r.runs[d.Ref.ID]
	r.mu.Unlock()
	here = here && run.seq < d.Message.Seq && d.Message.Seq <= run.seq+2
	body, err := json.Marshal(postedReply{
		Session: d.Ref.ID, Key: d.Key, Text: d.Message.String(),
		TakenOver: !here || run.attempt > 1,
	})
	if err != nil {
		return err
	}
	if r.Platform == "" {
		r.mu.Lock()
		defer r.mu.Unlock()
		_, err := fmt.Fprintf(r.out, "%s\n", body)
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.Platform+"/replies", bytes.NewReader(body))
	if err != nil {
		return err
	}
	answer, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	io.Copy(io.Discard, answer.Body)
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the platform answers %s", answer.Status)
	}
	return nil
}

// keepAlive is a client that keeps so many connections to each host.
func keepAlive(conns int) *http.Client {
	return &http.Client{
		Timeout:   15 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: conns, IdleConnTimeout: time.Minute},
	}
}

// sleep waits, unless ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
