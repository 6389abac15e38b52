package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/botsession/botsession/cmd/botsession/internal/metrics"
	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// A Replica is one process that serves the demo's bot.
//
// Without Listen the demo has started it, and tells it by one JSON line on In what
// to do. (The line may hold a password, so it is neither in the arguments nor in
// the environment.) In then stays open: when it ends the demo is gone, and the
// replica ends too.
//
// With Listen it is a replica without a demo, of a bot that takes the order for a
// pizza. Its webhook returns the replies; a [Client] talks to it. GET /healthz at the
// same address returns 200 while the replica serves and the server replies, else 503.
type Replica struct {
	Open Open      // Open opens the store.
	In   io.Reader // In is where the demo's line comes from.
	Out  io.Writer // Out gets a JSON line with the webhook's address.
	Err  io.Writer // Err gets the log.

	Listen    string // Listen is the address of the webhook. Empty means that the demo says all of the below.
	Redis     string // Redis is the URL of the server.
	Namespace string // Namespace is as in store.Options.
	Bot       string // Bot is the name of the bot.
}

// ErrNoDemo says that a Replica without Listen got no line on In.
var ErrNoDemo = errors.New("this command is started by the demo")

// Serve serves the bot, and its webhook, until ctx or the demo ends. It returns
// ErrNoDemo, the error of Open, or why it could not go on.
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

func (r Replica) serve(ctx context.Context, config replicaConfig, listen string) error {
	level := slog.LevelWarn
	if config.Verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(r.Err, &slog.HandlerOptions{Level: level}))
	opts := &store.Options{Namespace: config.Namespace, Name: config.Name, Lease: config.Lease, Logger: log}
	if config.Trouble {
		opts.MaxTurn = troubleMaxTurn
	}
	st, err := r.Open(ctx, config.Redis, opts)
	if err != nil {
		return err
	}
	defer st.Close()
	options := botOptions()
	switch {
	case r.Listen != "":
		options = pizzaOptions()
	case config.Trouble:
		options = troubleOptions()
	}
	bot, err := st.Bot(ctx, config.Bot, options)
	if err != nil {
		return err
	}
	b := newBot(config, bot)
	webhook, handle, send := b.webhook, b.handle, b.send
	switch {
	case r.Listen != "":
		own := pizza{bot}
		webhook, handle, send = own.webhook, own.handle, nil
	case config.Trouble:
		handle, send = trouble{}.handle, trouble{}.send
	}

	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /webhook", webhook)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, req *http.Request) { healthy(st, w, req) })
	mux.Handle("GET /metrics", metrics.Handler(metrics.Own(bot)))
	server := &http.Server{Handler: mux, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelInfo)}
	served := make(chan error, 2)
	go func() { served <- server.Serve(listener) }()
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	go func() {
		served <- bot.Serve(serving, handle, &store.ServeOptions{
			Send:  send,
			Grace: 2 * time.Second,
			Dead: func(_ context.Context, d session.DeadLetter) {
				log.Error("dead letter", "bot", d.Ref.Bot, "session", d.Ref.ID, "error", d.Error)
			},
		})
	}()
	if err := text.WriteJSON(r.Out, replicaHello{listener.Addr().String()}); err != nil {
		return err
	}

	select {
	case <-ctx.Done():
	case err := <-served:
		return err
	}
	// Accept nothing new, then finish what runs.
	shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	server.Shutdown(shutdown)
	<-served
	stopServing()
	return <-served
}

// healthy tells whoever asks whether this replica can be sent events: while it
// serves, whether the server replies.
func healthy(st *store.Store, w http.ResponseWriter, req *http.Request) {
	ctx, cancel := context.WithTimeout(req.Context(), 2*time.Second)
	defer cancel()
	if _, err := st.Bots(ctx); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}
