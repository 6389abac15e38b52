package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// A bot is the demo's bot in one replica, written as a real one would be: a webhook
// that accepts events, a handler without any state of its own, and a Send.
type bot struct {
	replicaConfig
	bot    *store.Bot
	client *http.Client

	mu   sync.Mutex
	runs map[string]ran // session id -> the last turn that this replica ran
}

// ran is a turn that this replica ran.
type ran struct {
	seq     int64 // of the chat before it
	attempt int
}

// botOptions are how the demo's bot is declared: its sessions stay for an hour.
func botOptions() *store.BotOptions {
	return &store.BotOptions{Initial: initialState, TTL: time.Hour}
}

func newBot(config replicaConfig, b *store.Bot) *bot {
	return &bot{replicaConfig: config, bot: b, client: keepAlive(64), runs: map[string]ran{}}
}

// webhook accepts an event. After an error that is not the event's own the platform
// delivers it again: it was not accepted, or nobody knows.
func (b *bot) webhook(w http.ResponseWriter, req *http.Request) {
	if receipt := accept(b.bot, w, req); receipt != nil {
		json.NewEncoder(w).Encode(webhookResponse{Duplicate: receipt.Duplicate})
	}
}

// accept accepts the event that was posted. If it cannot be accepted it writes the
// response, and returns nil.
func accept(b *store.Bot, w http.ResponseWriter, req *http.Request) *store.Receipt {
	var e webhookEvent
	if err := json.NewDecoder(io.LimitReader(req.Body, maxBody)).Decode(&e); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return nil
	}
	event := session.Event{ID: e.ID, Text: e.Text, Platform: "demo", User: e.Session}
	if e.Payload != nil {
		event.Payload = e.Payload
	}
	receipt, err := b.Accept(req.Context(), e.Session, event)
	if err != nil {
		status := http.StatusServiceUnavailable
		if errors.Is(err, session.ErrInvalid) {
			status = http.StatusBadRequest // it will never be accepted
		}
		http.Error(w, err.Error(), status)
		return nil
	}
	return receipt
}

// handle predicts what the dialogue says, moves to the intent when it changes,
// keeps the slots, and replies.
func (b *bot) handle(ctx context.Context, t *store.Turn) error {
	var p payload
	if !t.Payload(&p) {
		return store.GiveUp(errors.New("the event has no payload"))
	}
	before := t.Snapshot()
	b.mu.Lock()
	b.runs[t.Ref().ID] = ran{before.Seq, t.Attempt()}
	b.mu.Unlock()
	if err := sleep(ctx, b.Work); err != nil {
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

// send posts a reply to the platform. Its turn was taken over if this replica ran
// it as a second attempt, or did not run it: whoever ran it has died or frozen.
func (b *bot) send(ctx context.Context, d store.Delivery) error {
	b.mu.Lock()
	run, here := b.runs[d.Ref.ID]
	b.mu.Unlock()
	here = here && run.seq < d.Message.Seq && d.Message.Seq <= run.seq+2
	body, err := json.Marshal(postedReply{
		Session: d.Ref.ID, Key: d.Key, Text: d.Message.String(),
		TakenOver: !here || run.attempt > 1,
	})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.Platform+"/replies", bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := b.client.Do(req)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	io.Copy(io.Discard, response.Body)
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the platform returns %s", response.Status)
	}
	return nil
}
