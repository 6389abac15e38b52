package main

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
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// A replica of the demo's bot is a process of its own: this command, started by
// the demo. It is told what to do by one JSON line on stdin, which then stays
// open: when it ends, the demo is gone, and so goes the replica. It answers
// with one JSON line on stdout. (What it is told may hold a password, so it
// stands neither in the arguments nor in the environment.)
//
// With --listen it is a replica without a demo: a bot that repeats what it is
// told, for docker-compose.yml. Its replies go to stdout, one JSON object a line.
func newReplica(e *env) *cobra.Command {
	var alone replicaConfig
	var listen string
	cmd := &cobra.Command{
		Use:    "replica",
		Short:  "Run one replica of the demo's bot (the demo starts it)",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if listen != "" {
				var err error
				if alone.Redis, err = e.url(); err != nil {
					return err
				}
				alone.Namespace = e.namespace
				return serveReplica(cmd.Context(), e, alone, listen)
			}
			// A ctrl-C reaches the whole process group. The demo stops its
			// replicas itself, when it has heard from them what it wants to.
			signal.Ignore(os.Interrupt)
			ctx, stop := signal.NotifyContext(context.WithoutCancel(cmd.Context()), syscall.SIGTERM)
			defer stop()
			return runReplica(ctx, e)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "", "serve without a demo, with the webhook at this address")
	cmd.Flags().StringVar(&alone.Bot, "bot", "echo", "name of the bot, with --listen")
	return cmd
}

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

func runReplica(ctx context.Context, e *env) error {
	in := bufio.NewReader(e.in)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return failed(errors.New("this command is started by the demo"), "botsession demo")
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
	return serveReplica(ctx, e, config, "127.0.0.1:0")
}

// serveReplica serves the bot, and its webhook, until ctx ends.
func serveReplica(ctx context.Context, e *env, config replicaConfig, listen string) error {
	r := &demoReplica{replicaConfig: config, out: e.out, runs: map[string]ran{}, client: keepAlive(64)}
	level := slog.LevelWarn
	if r.Verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(e.err, &slog.HandlerOptions{Level: level}))
	st, err := openStore(ctx, r.Redis, &store.Options{Namespace: r.Namespace, Name: r.Name, Lease: r.Lease, Logger: log})
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
	if err := text.WriteJSON(e.out, replicaHello{listener.Addr().String()}); err != nil {
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
