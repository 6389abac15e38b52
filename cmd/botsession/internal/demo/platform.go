package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The platform stands between the users and the bot, as a messenger does: it
// delivers each message to some replica until one accepts it, some twice, and
// takes the replies. It knows all dialogues, and so is also the judge.
type platform struct {
	fleet  *fleet
	client *http.Client
	server *http.Server
	url    string // where replicas post replies

	talks map[string]*talk // by session id; fixed before the first message

	accepted, replied  atomic.Int64 // messages accepted, replies received, once each
	duplicates, resent atomic.Int64 // deliveries that the webhook called duplicates, copies of replies
	takenOver, refused atomic.Int64 // turns taken over, deliveries that were not accepted
	lastProgress       atomic.Int64 // Unix nanoseconds
	copies             sync.WaitGroup
	mu                 sync.Mutex
	latency            *hdrhistogram.Histogram // microseconds from a message's first delivery to its reply
}

// A talk is what the platform knows of one session.
type talk struct {
	dialogue Dialogue
	answered []int // the exchanges that have a reply

	mu        sync.Mutex
	delivered []time.Time     // when the first delivery of each message began
	received  []string        // the first copy of each reply, in the order of receipt
	keys      map[string]bool // of the replies received; true: taken over
	more      chan struct{}   // has room for one signal: something was received
}

func newPlatform(dialogues []Dialogue, connections int) *platform {
	p := &platform{
		client:  keepAlive(connections),
		talks:   make(map[string]*talk, len(dialogues)),
		latency: hdrhistogram.New(1, time.Hour.Microseconds(), 3),
	}
	for _, d := range dialogues {
		t := &talk{dialogue: d, keys: map[string]bool{}, more: make(chan struct{}, 1), delivered: make([]time.Time, len(d.exchanges))}
		for i, x := range d.exchanges {
			if x.Reply != "" {
				t.answered = append(t.answered, i)
			}
		}
		p.talks[d.id] = t
	}
	p.progress()
	return p
}

func (p *platform) progress() { p.lastProgress.Store(time.Now().UnixNano()) }

// listen takes replies until close.
func (p *platform) listen() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p.url = "http://" + listener.Addr().String()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /replies", p.receive)
	p.server = &http.Server{Handler: mux}
	go p.server.Serve(listener)
	return nil
}

func (p *platform) close() { p.server.Close() }

// receive takes one copy of a reply.
func (p *platform) receive(w http.ResponseWriter, req *http.Request) {
	var reply postedReply
	if err := json.NewDecoder(io.LimitReader(req.Body, 4*maxLine)).Decode(&reply); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	t := p.talks[reply.Session]
	if t == nil {
		http.Error(w, "no such user", http.StatusNotFound)
		return
	}
	p.progress()
	t.mu.Lock()
	defer t.mu.Unlock()
	counted, again := t.keys[reply.Key]
	if reply.TakenOver && !counted {
		p.takenOver.Add(1)
	}
	t.keys[reply.Key] = counted || reply.TakenOver
	if again {
		p.resent.Add(1)
		return
	}
	if n := len(t.received); n < len(t.answered) {
		p.replied.Add(1)
		since := time.Since(t.delivered[t.answered[n]])
		p.mu.Lock()
		p.latency.RecordValue(max(since.Microseconds(), 1))
		p.mu.Unlock()
	}
	t.received = append(t.received, reply.Text)
	select {
	case t.more <- struct{}{}:
	default:
	}
}

// wait waits until n replies were received.
func (t *talk) wait(ctx context.Context, n int) error {
	for {
		t.mu.Lock()
		have := len(t.received)
		t.mu.Unlock()
		if have >= n {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.more:
		}
	}
}

// A user says one dialogue's messages, in order.
type user struct {
	rng       *rand.Rand
	impatient bool          // does not wait for replies
	duplicate float64       // the share of the messages that is delivered twice
	think     time.Duration // before each message, on average
}

// say lets the user say a whole dialogue, and returns when the last reply is
// there.
func (p *platform) say(ctx context.Context, u user, t *talk) error {
	replies := 0
	for i, x := range t.dialogue.exchanges {
		if err := sleep(ctx, u.pause()); err != nil {
			return err
		}
		event := webhookEvent{
			Session: t.dialogue.id, ID: strconv.Itoa(i + 1), Text: x.Text,
			Payload: payload{Intent: x.Intent, Slots: x.Slots, Reply: x.Reply},
		}
		body, err := json.Marshal(event)
		if err != nil {
			return err
		}
		t.mu.Lock()
		t.delivered[i] = time.Now()
		t.mu.Unlock()
		first := p.fleet.pick(u.rng, nil)
		if u.rng.Float64() < u.duplicate {
			// The other copy is on its own: it may come late, after the messages behind it.
			rng := rand.New(rand.NewPCG(u.rng.Uint64(), 0))
			second := p.fleet.pick(rng, first)
			p.copies.Go(func() { p.deliver(ctx, rng, second, body) })
		}
		if err := p.deliver(ctx, u.rng, first, body); err != nil {
			return err
		}
		p.accepted.Add(1)
		if x.Reply != "" {
			replies++
		}
		if u.impatient {
			continue
		}
		if err := t.wait(ctx, replies); err != nil {
			return err
		}
	}
	return t.wait(ctx, replies)
}

// pause is how long the user thinks this time: half as long as on average, to
// half as long again.
func (u user) pause() time.Duration {
	return u.think/2 + time.Duration(u.rng.Float64()*float64(u.think))
}

// errRefused is a message that no replica will ever accept.
var errRefused = errors.New("refused")

// deliver posts a message to a replica, and then to others, until one accepts
// it. That is all a platform can do: when no answer came, it may have been
// accepted or not.
func (p *platform) deliver(ctx context.Context, rng *rand.Rand, to *replica, body []byte) error {
	const longest = 500 * time.Millisecond
	for backoff := 10 * time.Millisecond; ; backoff = min(2*backoff, longest) {
		if to != nil {
			answer, err := p.post(ctx, to, body)
			if err == nil {
				p.progress()
				if answer.Duplicate {
					p.duplicates.Add(1)
				}
				if to.doomed.CompareAndSwap(true, false) {
					p.fleet.kill(to)
				}
				return nil
			}
			if errors.Is(err, errRefused) {
				return err
			}
			p.refused.Add(1)
		}
		if err := sleep(ctx, backoff); err != nil {
			return err
		}
		to = p.fleet.pick(rng, to)
	}
}

func (p *platform) post(ctx context.Context, to *replica, body []byte) (webhookAnswer, error) {
	var accepted webhookAnswer
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.url, bytes.NewReader(body))
	if err != nil {
		return accepted, err
	}
	answer, err := p.client.Do(req)
	if err != nil {
		return accepted, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxLine))
	switch {
	case err != nil:
		return accepted, err
	case answer.StatusCode == http.StatusBadRequest:
		return accepted, fmt.Errorf("%w by %s: %s", errRefused, to, strings.TrimSpace(string(text)))
	case answer.StatusCode != http.StatusOK:
		return accepted, fmt.Errorf("%s: %s", answer.Status, strings.TrimSpace(string(text)))
	}
	return accepted, json.Unmarshal(text, &accepted)
}

// percentile is a latency in milliseconds.
func (p *platform) percentile(q float64) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return float64(p.latency.ValueAtQuantile(q)) / 1000
}
