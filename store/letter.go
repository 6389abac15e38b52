package store

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/ids"
	"github.com/botsession/botsession/store/internal/stored"
)

// bury makes the head of the inbox or of the outbox a dead letter. The script
// takes the head as it is stored, so this works whatever the head is.
func (r *runner) bury(h *hold, why string) *hold {
	b := r.bot
	if !h.finish() {
		return r.gone(h, session.ErrFenced)
	}
	letter := session.DeadLetter{Ref: h.at.ref, Error: fit(why), Failures: h.fails, Crashes: h.crashes, Holder: b.store.Name(), Time: b.store.caller.Clock.Now(h.at.bucket)}
	digest := ids.Digest("")
	var c written
	if h.work == session.WorkReply {
		if m, err := h.parcels[0].read(); err == nil && h.parcels[0].err == nil {
			letter.Reply = &m
		}
	} else {
		digest = h.event.digest
		if h.event.err == nil {
			e, _, _ := stored.DecodeEvent(h.event.encoded) // one that nobody else has
			letter.Event = &e
			c.own = b.store.own(h.event, false)
			c.dirty = len(c.own.fields) > 0
		}
	}
	c.chat = c.own.chat
	encoded := b.store.kept(func(c codec.Codec) (codec.Encoded, error) { return stored.EncodeWhy(c, letter) })
	began := time.Now()
	named, rest := h.opts.wire(c)
	answer, err := b.store.do(r.calls, h.at, ask(lua.Dead, append([]string{
		"id", h.at.ref.ID, "bot", b.name, "token", string(h.token), "digest", string(digest), "want", r.want(), "lease", millis(b.store.opts.Lease),
		"why", string(encoded), "keep", millis(deadLife), "most", strconv.Itoa(h.opts.DeadLimit),
	}, named...), rest))
	if err != nil {
		return r.gone(h, err)
	}
	h.log().ErrorContext(h.context(), "dead letter", "work", string(h.work), "failures", letter.Failures, "crashes", letter.Crashes, "outcome", "dead", "duration", h.lasted(), "error", letter.Error)
	h.ends("dead", letter.Error)
	if h.event != nil {
		b.store.settle(h.at.ref, h.event, session.Dead, letter.Error, nil)
	}
	r.tell(h, letter)
	return r.next(h.at, began, answer.Next())
}

// tell calls the user's Dead, beside what comes next for the session: it may
// take its time.
func (r *runner) tell(h *hold, letter session.DeadLetter) {
	b := r.bot
	if r.serve.Dead == nil {
		return
	}
	log := h.log()
	r.wg.Add(1)
	go func() {
		defer r.wg.Done()
		ctx, cancel := context.WithTimeout(r.calls, b.store.opts.MaxTurn)
		defer cancel()
		protect(ctx, func() *slog.Logger { return log }, "Dead", func() error { r.serve.Dead(ctx, letter); return nil })
	}()
}

// told waits until every call of Dead has returned, or ctx has ended, or they
// take longer than MaxTurn.
func (r *runner) told(ctx context.Context) {
	done := make(chan struct{})
	go func() { r.wg.Wait(); close(done) }()
	timer := time.NewTimer(r.bot.store.opts.MaxTurn)
	defer timer.Stop()
	select {
	case <-done:
	case <-ctx.Done():
	case <-timer.C:
	}
}
