package store

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/ids"
	"github.com/botsession/botsession/store/internal/stored"
)

// deliver sends the replies that wait, in order, and notes them.
func (r *runner) deliver(h *hold) *hold {
	if err := context.Cause(h.ctx); err != nil {
		return r.release(h, "back", 0, err.Error())
	}
	var fail *failure
	for i := range h.parcels {
		if i > 0 && (h.ctx.Err() != nil || !h.extend()) {
			break // the rest is handed out again
		}
		if fail = r.send(h, &h.parcels[i]); fail != nil || !h.took() {
			break
		}
		h.ends("sent", "")
	}
	if !h.take() {
		return nil
	}
	return r.delivered(h, fail)
}

// delivered notes the replies that Send took, and then that it did not take the
// next one, unless that was not tried.
func (r *runner) delivered(h *hold, fail *failure) *hold {
	b := r.bot
	n := h.taken()
	switch {
	case n == 0 && fail == nil:
		return r.release(h, "back", 0, "")
	case n == 0:
		return r.unsent(h, fail)
	case !h.finish():
		return r.gone(h, session.ErrFenced)
	}
	began := time.Now()
	rec, next := "", ""
	var free *stored.Record
	if h.known != nil && fail == nil {
		if sent, all := h.known.Sent(n); all {
			rec, next, free = h.known.Text(), sent.Text(), sent
		}
	}
	answer, err := b.store.do(r.calls, h.at, ask(lua.Sent, []string{
		"id", h.at.ref.ID, "bot", b.name, "token", string(h.token), "upto", h.parcels[n-1].name.String(), "count", strconv.Itoa(n),
		"want", r.want(), "lease", b.words(h.opts).lease, "rec", rec, "after", next,
	}))
	if err != nil {
		return r.gone(h, err)
	}
	if free != nil && answer.Next().Status() == "after" {
		b.store.known.keep(b.store.identity().id, free)
		return nil
	}
	after := r.next(h.at, began, answer.Next())
	if fail == nil {
		return after
	}
	if after == nil || len(after.parcels) == 0 || after.parcels[0].name != h.parcels[n].name {
		h.ends("lost", fail.text)
		return after
	}
	after.goesOn(h)
	after.slot = h.slot
	after.begin(r.base)
	defer after.cancel(nil)
	return r.unsent(after, fail)
}

// unsent ends the hold on replies the first of which could not be sent.
func (r *runner) unsent(h *hold, fail *failure) *hold {
	if errors.Is(context.Cause(h.ctx), session.ErrShutdown) {
		return r.release(h, "back", 0, session.ErrShutdown.Error())
	}
	return r.failed(h, fail)
}

// send gives one reply to the platform.
func (r *runner) send(h *hold, p *parcel) *failure {
	b := r.bot
	if why := r.tooOften(h); why != nil {
		return hopeless(why)
	}
	if p.err != nil {
		return hopeless(p.err)
	}
	m, err := p.read()
	if err != nil {
		return hopeless(err)
	}
	if r.serve.Send == nil {
		return cannotSend()
	}
	d := Delivery{Ref: h.at.ref, Platform: h.rec.Platform(), User: h.rec.User(), Message: m, EventID: p.event, Attempt: h.attempt(), Key: p.name.String()}
	mark, lower := marked(h.ctx, b.store, h.at.ref, false)
	ctx := h.begins(mark)
	return protect(ctx, h.log, "Send", func() error {
		defer lower()
		return r.serve.Send(ctx, d)
	})
}

// cannotSend puts off a reply that this replica has no Send for: it was to be sent
// before the bot was made to record only, or the replica has not heard yet that
// replies are sent now. One with a Send may come.
func cannotSend() *failure {
	return taken("", Later(errors.New("the reply is to be sent, and this replica has no ServeOptions.Send")))
}

// mostSent is how many replies are sent before they are noted, and how many of
// the outbox a script hands out.
const mostSent = 100

// parcelsOf returns those that are to be sent next, without reading them back.
func parcelsOf(c written, chat []entry, h *hold) []parcel {
	life := strconv.FormatInt(h.rec.Life(), 10)
	if c.change.Reset != "" {
		life = string(h.token)
	}
	var parcels []parcel
	for _, e := range chat {
		if e.send && len(parcels) < mostSent {
			parcels = append(parcels, parcel{name: ids.Reply{Life: life, Number: e.message.Seq}, event: c.event, trace: c.trace, entry: e})
		}
	}
	return parcels
}
