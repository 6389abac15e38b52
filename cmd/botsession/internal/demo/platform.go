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
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A platform stands between the users and the bot, as a messenger does: it
// delivers each message to some replica until one accepts it, some messages twice,
// and takes the replies.
type platform struct {
	fleet  *fleet
	client *http.Client
	server *http.Server
	url    string // where replicas post replies

	talks map[string]*talk // by session id; fixed before the first message

	accepted, replied  atomic.Int64 // messages accepted, replies received, each counted once
	duplicates, resent atomic.Int64 // deliveries that a webhook called duplicates, second copies of replies
	takenOver, refused atomic.Int64 // turns taken over, deliveries that were not accepted
	lastProgress       atomic.Int64 // Unix nanoseconds
	copies             sync.WaitGroup
	mu                 sync.Mutex
	latency            *hdrhistogram.Histogram // microseconds from a message's first delivery to its reply
}

func newPlatform(dialogues []Dialogue, connections int) *platform {
	p := &platform{
		client:  keepAlive(connections),
		talks:   make(map[string]*talk, len(dialogues)),
		latency: hdrhistogram.New(1, time.Hour.Microseconds(), 3),
	}
	for _, d := range dialogues {
		p.talks[d.id] = newTalk(d)
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
	if err := json.NewDecoder(io.LimitReader(req.Body, maxBody)).Decode(&reply); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	t := p.talks[reply.Session]
	if t == nil {
		http.Error(w, "no such user", http.StatusNotFound)
		return
	}
	p.progress()
	r := t.receive(reply)
	if r.takenOver {
		p.takenOver.Add(1)
	}
	if r.again {
		p.resent.Add(1)
	}
	if r.wanted {
		p.replied.Add(1)
		p.mu.Lock()
		p.latency.RecordValue(max(r.took.Microseconds(), 1))
		p.mu.Unlock()
	}
}

// errRefused says that no replica will ever accept a message.
var errRefused = errors.New("refused")

// deliver posts a message to a replica, and then to others, until one accepts it.
// A platform can do no more: without a response, nobody knows whether the message
// was accepted.
func (p *platform) deliver(ctx context.Context, rng *rand.Rand, to *replica, body []byte) error {
	const longest = 500 * time.Millisecond
	for backoff := 10 * time.Millisecond; ; backoff = min(2*backoff, longest) {
		if to != nil {
			got, err := p.post(ctx, to, body)
			if err == nil {
				p.progress()
				if got.Duplicate {
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

func (p *platform) post(ctx context.Context, to *replica, body []byte) (webhookResponse, error) {
	var accepted webhookResponse
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.url, bytes.NewReader(body))
	if err != nil {
		return accepted, err
	}
	response, err := p.client.Do(req)
	if err != nil {
		return accepted, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, maxLine))
	switch {
	case err != nil:
		return accepted, err
	case response.StatusCode == http.StatusBadRequest:
		return accepted, fmt.Errorf("%w by %s: %s", errRefused, to, strings.TrimSpace(string(content)))
	case response.StatusCode != http.StatusOK:
		return accepted, fmt.Errorf("%s: %s", response.Status, strings.TrimSpace(string(content)))
	}
	return accepted, json.Unmarshal(content, &accepted)
}

// percentile returns a latency in milliseconds.
func (p *platform) percentile(q float64) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return float64(p.latency.ValueAtQuantile(q)) / 1000
}

// keepAlive returns a client that keeps so many connections to each host.
func keepAlive(conns int) *http.Client {
	return &http.Client{
		Timeout:   15 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: conns, IdleConnTimeout: time.Minute},
	}
}
