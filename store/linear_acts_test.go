package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// draw draws what to do next. Each text and value is there once.
func (p *past) draw(random *rand.Rand, text string) act {
	state := func() string { return fmt.Sprint("s", random.IntN(3)) }
	a := act{key: random.IntN(len(keyNames)), on: random.IntN(2) == 0}
	switch n := random.IntN(100); {
	case n < 8:
		a.verb = "create"
	case n < 15:
		a.verb, a.text = "set", text
	case n < 19:
		a.verb = "delete"
	case n < 23:
		a.verb = "flag"
	case n < 30:
		a.verb, a.from, a.to = "move", state(), state()
	case n < 44:
		a.verb, a.text, a.to = "apply", text, state()
	case n < 49:
		a.verb, a.text = "record", text
	case n < 58:
		a.verb = "load"
	case n < 66:
		a.verb = "history"
	case n < 70:
		a.verb = "reset"
	case n < 72:
		a.verb = "destroy"
	case n < 75:
		a.verb = []string{"skip", "retry", "unlock", "discard"}[random.IntN(4)]
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.events) == 0 {
			a.verb = "load"
			break
		}
		a.event = len(p.events) - 1 - random.IntN(min(3, len(p.events)))
		a.text = p.events[a.event].text
	case n < 83:
		a.verb, a.text = "update", text
		if a.on {
			a.to = state()
		}
	default:
		a.verb = "accept"
		plans := []string{"count", "fail", "slow", "set", "move " + state(), "reset keep", "reset drop"}
		p.mu.Lock()
		defer p.mu.Unlock()
		if a.event = len(p.events); a.event == 64 || a.event > 0 && random.IntN(4) == 0 {
			a.event = random.IntN(a.event) // once more
		} else {
			p.events = append(p.events, delivery{text: fmt.Sprint("e", a.event, " ", plans[random.IntN(len(plans))]), first: p.now()})
		}
		a.text = p.events[a.event].text
	}
	return a
}

// perform makes the call, and says what came of it.
func perform(ctx context.Context, bot *store.Bot, id string, a act) (r result, receipt *store.Receipt, err error) {
	s := bot.Session(id)
	switch a.verb {
	case "create":
		r.yes, err = s.Create(ctx, store.Origin{})
	case "set":
		err = s.Set(ctx, keyNames[a.key], a.text)
	case "delete":
		r.yes, err = s.Delete(ctx, keyNames[a.key])
	case "flag":
		err = s.SetFlag(ctx, flagNames[a.key%2], a.on)
	case "move":
		err = s.Move(ctx, session.Transition{From: a.from, To: a.to})
	case "apply":
		r.version, err = s.Apply(ctx, session.Change{Moves: []string{a.to}, Set: map[string]any{keyNames[a.key]: a.text},
			Chat: []session.Entry{{Message: session.Message{From: session.FromUser, Content: a.text}}}})
	case "record":
		err = s.Record(ctx, session.Message{Content: a.text})
	case "reset":
		keep := session.DropChat
		if a.on {
			keep = session.KeepChat
		}
		err = s.Reset(ctx, keep)
	case "destroy":
		var d store.Destroyed
		d, err = s.Destroy(ctx)
		r.events = d.Events
	case "skip":
		err = s.Skip(ctx, store.Head{Event: strings.Fields(a.text)[0]})
	case "retry":
		err = s.Retry(ctx, store.Head{Event: strings.Fields(a.text)[0]}, store.Retrial{Take: a.on})
	case "unlock":
		var st session.Status
		if st, err = s.Status(ctx); err == nil {
			err = s.Unlock(ctx, st.Lease.Token)
		}
	case "discard":
		var letters []session.DeadLetter
		letters, err = s.DeadLetters(ctx)
		at := time.Unix(1, 0) // there is none
		for _, l := range letters {
			if l.Event != nil && l.Event.ID == strings.Fields(a.text)[0] {
				at = l.Time
			}
		}
		if err == nil {
			err = s.Discard(ctx, at)
		}
	case "load":
		var snap session.Snapshot
		if snap, err = s.Load(ctx); err == nil {
			r.snap = seen(snap)
		}
	case "history":
		q := session.All()
		if a.on {
			q = q.WithWaiting()
		}
		var chat []session.Message
		chat, err = s.History(ctx, q)
		for _, m := range chat {
			r.said += m.String() + "\n"
		}
		r.chat = r.chat.all(r.said)
	case "update":
		_, err = bot.Update(ctx, id, func(_ context.Context, t *store.Turn) error {
			n, _ := counter.Get(t)
			r.said = lineOf(a.text, n, t.State())
			counter.Set(t, n+1)
			if a.to != "" {
				t.Move(a.to)
			}
			t.Record(session.Message{Content: r.said})
			return nil
		})
	case "accept":
		if receipt, err = bot.Accept(ctx, id, session.Event{ID: strings.Fields(a.text)[0], Text: a.text}); err == nil {
			if r.yes = receipt.Created; receipt.Duplicate {
				r.what = duplicate
				return r, receipt, nil
			}
		}
	}
	var wrong *session.StateError
	switch {
	case err == nil:
		r.what = done
	case errors.Is(err, session.ErrUnknownOutcome):
		r.what = unknown
	case errors.Is(err, session.ErrNotFound):
		return result{what: notFound}, nil, nil
	case errors.As(err, &wrong):
		return result{what: wrongState, said: wrong.Found}, nil, nil
	default: // certainly not done
		return result{}, nil, err
	}
	return r, receipt, err
}

// seen is a snapshot as the model has it.
func seen(s session.Snapshot) mind {
	m := mind{life: s.Life, version: s.Version, seq: s.Seq, state: s.State}
	for i, key := range keyNames {
		if v, ok := s.Data[key]; ok {
			m.data[i] = fmt.Sprint(v)
		}
	}
	if n, ok := s.Data[string(counter)]; ok {
		fmt.Sscan(fmt.Sprint(n), &m.n)
	}
	for i, name := range flagNames {
		m.up[i] = s.Flags[name]
	}
	return m
}
