package demo

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"
)

// A talk is what the platform knows of one session.
type talk struct {
	dialogue Dialogue
	answered []int // the exchanges that have a reply

	mu        sync.Mutex
	delivered []time.Time     // when the first delivery of each message began
	received  []string        // the first copy of each reply, in the order of receipt
	keys      map[string]bool // of the replies received; true: its turn was taken over
	more      chan struct{}   // has room for one signal: something was received
}

func newTalk(d Dialogue) *talk {
	t := &talk{dialogue: d, keys: map[string]bool{}, more: make(chan struct{}, 1), delivered: make([]time.Time, len(d.exchanges))}
	for i, x := range d.exchanges {
		if x.Reply != "" {
			t.answered = append(t.answered, i)
		}
	}
	return t
}

// A receipt says what one copy of a reply was.
type receipt struct {
	again     bool          // a copy of a reply that came before
	takenOver bool          // the first copy that says that its turn was taken over
	wanted    bool          // the dialogue has so many replies
	took      time.Duration // if wanted: since its message was delivered
}

// receive takes one copy of a reply.
func (t *talk) receive(reply postedReply) (r receipt) {
	t.mu.Lock()
	defer t.mu.Unlock()
	counted, again := t.keys[reply.Key]
	r.again, r.takenOver = again, reply.TakenOver && !counted
	t.keys[reply.Key] = counted || reply.TakenOver
	if again {
		return r
	}
	if n := len(t.received); n < len(t.answered) {
		r.wanted, r.took = true, time.Since(t.delivered[t.answered[n]])
	}
	t.received = append(t.received, reply.Text)
	select {
	case t.more <- struct{}{}:
	default:
	}
	return r
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

// A user sends the messages of one dialogue, in order.
type user struct {
	rng       *rand.Rand
	impatient bool          // does not wait for replies
	duplicate float64       // the share of the messages that are delivered twice
	think     time.Duration // before each message, on average
}

// say lets the user send all messages of a dialogue, and returns when the last
// reply has come.
func (p *platform) say(ctx context.Context, u user, t *talk) error {
	replies := 0
	for i, x := range t.dialogue.exchanges {
		if err := sleep(ctx, u.pause()); err != nil {
			return err
		}
		event := webhookEvent{
			Session: t.dialogue.id, ID: strconv.Itoa(i + 1), Text: x.Text,
			Payload: &payload{Intent: x.Intent, Slots: x.Slots, Reply: x.Reply},
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
			// Nobody waits for the other copy: it may come after the next messages.
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

// pause returns how long the user thinks this time: from half of the average to
// half more than it.
func (u user) pause() time.Duration {
	return u.think/2 + time.Duration(u.rng.Float64()*float64(u.think))
}
