package store

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/botsession/botsession/session"
)

// An Observer is told of what this process does, for traces and metrics. The module
// store/telemetry has one for OpenTelemetry, package storetest one for tests. Its
// methods are called on the path of what they observe, by many goroutines at once; a
// panic in one is logged, and changes nothing.
type Observer interface {
	// Begin is called when a stage begins, and returns the stage's context: ctx, or
	// one made from it. Handlers and Send get it, so that spans of their own nest in it.
	Begin(ctx context.Context, s Stage) context.Context

	// End is called once, when the stage that Begin was called for has ended, with the
	// context that Begin returned.
	End(ctx context.Context, s Stage, r Result)
}

// A Carrier is an [Observer] whose traces go on in other processes: an event takes the
// context of the trace along in which it was accepted, and a reply that of its turn.
type Carrier interface {
	Observer

	// Trace returns the context of the trace that ctx is in: 16 bytes of the trace's
	// id, 8 of the span's, one of flags, as W3C Trace Context has them; zeros if there is
	// none.
	Trace(ctx context.Context) [25]byte
}

// A StageKind says what a [Stage] is a stage of.
type StageKind string

const (
	StageAccept StageKind = "accept" // StageAccept is one call of Bot.Accept.
	StageTurn   StageKind = "turn"   // StageTurn is an attempt to handle an event, until its end is written.
	StageSend   StageKind = "send"   // StageSend is an attempt to send a reply.
	StageAct    StageKind = "act"    // StageAct is something that a person does by hand, such as a reset.
	StageCall   StageKind = "call"   // StageCall is a script's run on the server, with its retries.
)

// A Stage is what an [Observer] is told of when it begins. It has nothing of what users
// write.
type Stage struct {
	Kind        StageKind   // Kind is what is done.
	Name        string      // Name is the act's, or the script's. It is empty for the other kinds.
	Ref         session.Ref // Ref names the session. It has no ID if the stage is about the bot, and is zero if it is about neither.
	EventID     string      // EventID is the event's id, of a send that of the event whose turn made the reply. It may be empty.
	Attempt     int         // Attempt is which one this is of a turn or a send, from 1.
	Replica     string      // Replica is this process, as [Store.Name] returns it.
	Trace       [25]byte    // Trace is what [Carrier.Trace] returned when the event was accepted, or in the turn that made the reply. It is zero if nobody gave one.
	Redelivered bool        // Redelivered is whether the event was a dead letter before.
	TakenOver   bool        // TakenOver is whether a replica had the session before and was not heard of again.
}

// A Result is how a [Stage] ended.
//
// Outcome is one of these:
//
//	accept  accepted, duplicate, full (the inbox), invalid, unknown (perhaps accepted), failed
//	turn    handled, failed (it is tried again), dead, back (handed back, and not to blame), lost (to another replica, or dropped), waits (the handler put it off)
//	send    sent, failed, dead, back, lost, waits (Send asked for a pause)
//	act     done, failed
//	call    done, failed
type Result struct {
	Outcome string        // Outcome is how it ended.
	Error   string        // Error says why, if it did not end well.
	Took    time.Duration // Took is for how long the stage lasted.
	Since   time.Duration // Since is how long ago the event was accepted, by the server's clock; of a send, how long ago the reply was made. It is zero for other kinds, and where that is not known.
}

// An observed is a stage that an Observer was told of. Nil stands for one that nobody
// observes.
type observed struct {
	store *Store
	ctx   context.Context // what Begin returned
	stage Stage
	began time.Time
	made  time.Time // when the event was accepted, or the reply made, if that is known
}

// begin tells the Observer of a stage. ctx is that of the stage from now on.
func (s *Store) begin(ctx context.Context, stage Stage) (context.Context, *observed) {
	if s.opts.Observer == nil {
		return ctx, nil
	}
	stage.Replica = s.name
	o := &observed{store: s, ctx: ctx, stage: stage, began: time.Now()}
	protect(ctx, s.logger, "Observer.Begin", func() error {
		if made := s.opts.Observer.Begin(ctx, stage); made != nil {
			o.ctx = made
		}
		return nil
	})
	return o.ctx, o
}

// end tells the Observer how a stage has ended.
func (o *observed) end(r Result) {
	if o == nil {
		return
	}
	r.Took = time.Since(o.began)
	protect(o.ctx, o.store.logger, "Observer.End", func() error { o.store.opts.Observer.End(o.ctx, o.stage, r); return nil })
}

// endWith ends a stage that is done, or has failed with that error.
func (o *observed) endWith(err error) {
	if o == nil {
		return
	}
	r := Result{Outcome: "done"}
	if err != nil {
		r = Result{Outcome: "failed", Error: fit(err.Error())}
	}
	o.end(r)
}

func (s *Store) logger() *slog.Logger { return s.log }

// act begins the stage of something that is done by hand. What it returns is to be
// called when that is over: it ends the stage, and logs what was done.
func (s *Store) act(ctx context.Context, name string, ref session.Ref) (in context.Context, done func(error)) {
	in, o := s.begin(ctx, Stage{Kind: StageAct, Name: name, Ref: ref})
	return in, func(err error) {
		o.endWith(err)
		if err == nil {
			s.about(ref).InfoContext(in, "done by hand", "act", name)
		}
	}
}

// traceOf is what an event or a reply takes along of the trace that ctx is in: 25
// bytes, or nothing.
func (s *Store) traceOf(ctx context.Context) (trace string) {
	carrier, ok := s.opts.Observer.(Carrier)
	if !ok {
		return ""
	}
	protect(ctx, s.logger, "Observer.Trace", func() error {
		if t := carrier.Trace(ctx); t != [25]byte{} {
			trace = string(t[:])
		}
		return nil
	})
	return trace
}

// traceBytes is the trace that an event or a reply has brought along.
func traceBytes(trace string) (t [25]byte) {
	copy(t[:], trace)
	return t
}

// acceptResult is how an accept ended.
func acceptResult(r *Receipt, err error) Result {
	result := Result{Outcome: "accepted"}
	switch {
	case err == nil && r.Duplicate:
		result.Outcome = "duplicate"
	case err == nil:
	case errors.Is(err, session.ErrInboxFull):
		result.Outcome = "full"
	case errors.Is(err, session.ErrInvalid):
		result.Outcome = "invalid"
	case errors.Is(err, session.ErrUnknownOutcome):
		result.Outcome = "unknown"
	default:
		result.Outcome = "failed"
	}
	if err != nil {
		result.Error = fit(err.Error())
	}
	return result
}

// begins tells the Observer of the attempt that is made now.
func (h *hold) begins(ctx context.Context) context.Context {
	s := h.runner.bot.store
	if s.opts.Observer == nil {
		return ctx
	}
	stage := Stage{Kind: StageTurn, Ref: h.at.ref, Attempt: h.attempt(), TakenOver: h.takenOver}
	if h.event != nil {
		stage.EventID, stage.Trace, stage.Redelivered = h.event.ID, traceBytes(h.event.extras.Trace), h.event.extras.Root != ""
	}
	var made time.Time
	if h.work == session.WorkReply {
		stage.Kind = StageSend
		if n := h.taken(); n < len(h.parcels) {
			p := h.parcels[n]
			stage.EventID, stage.Trace, stage.TakenOver, made = p.event, traceBytes(p.trace), h.takenOver && n == 0, p.message.Time
		}
	}
	ctx, o := s.begin(ctx, stage)
	o.made = made
	h.mu.Lock()
	defer h.mu.Unlock()
	h.observed, h.begun = o, true
	return ctx
}

// ends tells the Observer how the attempt has ended. One that failed before it began,
// such as that of an event that cannot be read, begins and ends here.
func (h *hold) ends(outcome, why string) {
	s := h.runner.bot.store
	if s.opts.Observer == nil || h.work == session.WorkUpdate {
		return
	}
	h.mu.Lock()
	begun := h.begun
	h.mu.Unlock()
	switch {
	case begun:
	case outcome == "failed", outcome == "dead":
		h.begins(h.ctx)
	default: // it was never tried
		return
	}
	h.mu.Lock()
	o, accepted := h.observed, h.accepted
	h.observed = nil
	h.mu.Unlock()
	if o == nil {
		return
	}
	if accepted > 0 {
		o.made = time.UnixMilli(accepted)
	}
	r := Result{Outcome: outcome, Error: why}
	if !o.made.IsZero() {
		r.Since = max(s.caller.Clock.Now(h.at.bucket).Sub(o.made), 0)
	}
	o.end(r)
}

// goesOn makes the hold the one that ends the attempt which another began.
func (h *hold) goesOn(from *hold) {
	from.mu.Lock()
	defer from.mu.Unlock()
	h.observed, h.begun, from.observed = from.observed, from.begun, nil
}
