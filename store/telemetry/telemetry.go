// Package telemetry observes bots with OpenTelemetry: traces that follow an event from
// the process that accepts it, through each attempt of each replica, to the replies that
// are sent, and metrics.
//
//	observer, err := telemetry.New(nil) // the global providers
//	st, err := store.Open(ctx, url, &store.Options{Observer: observer})
//	bot, err := st.Bot(ctx, "pizza", nil)
//	stop, err := observer.Watch(bot) // its gauges
//
// It is a module of its own, so that only those depend on OpenTelemetry who use it.
//
// # Traces
//
// Accept, each attempt of a turn, each attempt to send a reply, and each act is a span.
// The context of a handler and of Send is in it, so that their own spans nest. The first
// attempt of a turn is a child of the accept, that of a send a child of the turn that made
// the reply. Later attempts are in the same trace, and have a link to the same span, which
// tells them from the first. An event that was a dead letter and is delivered again, maybe
// weeks later, begins a new trace with that link. Spans name the session and the event.
//
// # Metrics
//
// None has a label with a session, a user, an event, a state, a replica or the text of an
// error. Durations are in seconds.
//
//	botsession.events              counter    bot, result: those of an accept (see store.Result), then handled or dead
//	botsession.turns               counter    bot, outcome
//	botsession.sends               counter    bot, outcome
//	botsession.takeovers           counter    bot
//	botsession.acts                counter    act
//	botsession.event.wait          histogram  bot: from the accept to the first attempt
//	botsession.event.duration      histogram  bot: from the accept to the end, handled or dead
//	botsession.turn.duration       histogram  bot: of one attempt
//	botsession.send.duration       histogram  bot: of one attempt
//	botsession.call.duration       histogram  script: of one call of the server, with its retries
//	botsession.sessions            gauge      bot
//	botsession.events.waiting      gauge      bot
//	botsession.events.oldest_age   gauge      bot: of the replicas' the greatest is the fleet's
//	botsession.dead_letters        gauge      bot
//	botsession.slots               gauge      bot, state: free or busy
//
// The gauges come from [Observer.Watch]: each replica gives those of its own part of the
// sessions, so that the sum is the fleet's.
package telemetry

import (
	"context"
	"errors"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/botsession/botsession/store"
)

const scope = "github.com/botsession/botsession/store/telemetry"

// Options are the settings of an [Observer]. The zero value is ready for use.
type Options struct {
	TracerProvider trace.TracerProvider // TracerProvider makes the spans. Nil means OpenTelemetry's global one.
	MeterProvider  metric.MeterProvider // MeterProvider makes the metrics. Nil means OpenTelemetry's global one.
	Conventions    bool                 // Conventions adds to the spans the attributes of OpenTelemetry's conventions for messaging and for generative AI, which are in development and may change. False means that they have the attributes of this package alone.
}

// An Observer is a [store.Carrier] for [store.Options].
type Observer struct {
	tracer      trace.Tracer
	meter       metric.Meter
	conventions bool

	events, turns, sends, takeovers, acts                      metric.Int64Counter
	eventWait, eventDuration, turnDuration, sendTime, callTime metric.Float64Histogram
	sessions, waiting, letters, slots                          metric.Int64ObservableGauge
	oldest                                                     metric.Float64ObservableGauge
}

var _ store.Carrier = (*Observer)(nil)

// bounds are those of all histograms, in seconds: from a turn of two round trips to one
// that thinks for as long as Options.MaxTurn lets it.
var bounds = metric.WithExplicitBucketBoundaries(.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300)

// New returns an Observer. Nil options mean the defaults. It returns the error of a meter
// that cannot make the metrics.
func New(opts *Options) (*Observer, error) {
	var given Options
	if opts != nil {
		given = *opts
	}
	if given.TracerProvider == nil {
		given.TracerProvider = otel.GetTracerProvider()
	}
	if given.MeterProvider == nil {
		given.MeterProvider = otel.GetMeterProvider()
	}
	o := &Observer{tracer: given.TracerProvider.Tracer(scope), meter: given.MeterProvider.Meter(scope), conventions: given.Conventions}
	var failed []error
	counter := func(into *metric.Int64Counter, name, unit, help string) {
		c, err := o.meter.Int64Counter("botsession."+name, metric.WithUnit(unit), metric.WithDescription(help))
		*into, failed = c, append(failed, err)
	}
	histogram := func(into *metric.Float64Histogram, name, help string) {
		h, err := o.meter.Float64Histogram("botsession."+name, metric.WithUnit("s"), metric.WithDescription(help), bounds)
		*into, failed = h, append(failed, err)
	}
	gauge := func(into *metric.Int64ObservableGauge, name, unit, help string) {
		g, err := o.meter.Int64ObservableGauge("botsession."+name, metric.WithUnit(unit), metric.WithDescription(help))
		*into, failed = g, append(failed, err)
	}
	counter(&o.events, "events", "{event}", "Events that came, by how the accept ended, and that ended.")
	counter(&o.turns, "turns", "{turn}", "Attempts to handle an event.")
	counter(&o.sends, "sends", "{send}", "Attempts to send a reply.")
	counter(&o.takeovers, "takeovers", "{session}", "Sessions taken over from replicas that were not heard of again.")
	counter(&o.acts, "acts", "{act}", "What was done by hand.")
	histogram(&o.eventWait, "event.wait", "From the accept of an event to its first attempt.")
	histogram(&o.eventDuration, "event.duration", "From the accept of an event to its end.")
	histogram(&o.turnDuration, "turn.duration", "Of an attempt to handle an event.")
	histogram(&o.sendTime, "send.duration", "Of an attempt to send a reply.")
	histogram(&o.callTime, "call.duration", "Of a call of the server, with its retries.")
	gauge(&o.sessions, "sessions", "{session}", "Sessions that there are.")
	gauge(&o.waiting, "events.waiting", "{event}", "Events that wait.")
	gauge(&o.letters, "dead_letters", "{letter}", "Dead letters that are kept.")
	gauge(&o.slots, "slots", "{session}", "Sessions that can be handled at once.")
	oldest, err := o.meter.Float64ObservableGauge("botsession.events.oldest_age", metric.WithUnit("s"), metric.WithDescription("For how long the oldest event, or unsent reply, has waited."))
	o.oldest = oldest
	if err := errors.Join(append(failed, err)...); err != nil {
		return nil, err
	}
	return o, nil
}

// Begin begins the span of a stage. A call of the server has none.
func (o *Observer) Begin(ctx context.Context, s store.Stage) context.Context {
	if s.Kind == store.StageCall {
		return ctx
	}
	opts := []trace.SpanStartOption{trace.WithAttributes(o.about(s)...)}
	name := string(s.Kind)
	switch s.Kind {
	case store.StageAccept:
		opts = append(opts, trace.WithSpanKind(trace.SpanKindProducer))
	case store.StageTurn:
		opts = append(opts, trace.WithSpanKind(trace.SpanKindConsumer))
	case store.StageSend:
		opts = append(opts, trace.WithSpanKind(trace.SpanKindClient))
	case store.StageAct:
		name += " " + s.Name
	}
	if from := spanContext(s.Trace); from.IsValid() {
		if s.Redelivered {
			opts = append(opts, trace.WithNewRoot())
		} else {
			ctx = trace.ContextWithRemoteSpanContext(ctx, from)
		}
		if s.Redelivered || s.Attempt > 1 {
			opts = append(opts, trace.WithLinks(trace.Link{SpanContext: from}))
		}
	}
	ctx, _ = o.tracer.Start(ctx, name, opts...)
	return ctx
}

// about is what a span says of its stage.
func (o *Observer) about(s store.Stage) []attribute.KeyValue {
	var all []attribute.KeyValue
	say := func(key, value string) {
		if value != "" {
			all = append(all, attribute.String(key, value))
		}
	}
	say("botsession.bot", s.Ref.Bot)
	say("botsession.session", s.Ref.ID)
	say("botsession.event", s.EventID)
	say("botsession.replica", s.Replica)
	if s.Attempt > 0 {
		all = append(all, attribute.Int("botsession.attempt", s.Attempt))
	}
	if s.TakenOver {
		all = append(all, attribute.Bool("botsession.taken_over", true))
	}
	if !o.conventions || s.Kind == store.StageAct {
		return all
	}
	say("messaging.system", "botsession")
	say("messaging.operation.type", map[store.StageKind]string{store.StageAccept: "send", store.StageTurn: "process", store.StageSend: "send"}[s.Kind])
	say("messaging.destination.name", s.Ref.Bot)
	say("messaging.message.id", s.EventID)
	say("messaging.message.conversation_id", s.Ref.ID)
	if s.Kind == store.StageTurn {
		say("gen_ai.operation.name", "invoke_agent")
		say("gen_ai.agent.name", s.Ref.Bot)
		say("gen_ai.conversation.id", s.Ref.String())
	}
	return all
}

// End ends the span of a stage, and counts it.
func (o *Observer) End(ctx context.Context, s store.Stage, r store.Result) {
	if s.Kind != store.StageCall {
		span := trace.SpanFromContext(ctx)
		span.SetAttributes(attribute.String("botsession.outcome", r.Outcome))
		if r.Error != "" && r.Outcome != "back" && r.Outcome != "waits" {
			span.SetStatus(codes.Error, strings.ToValidUTF8(r.Error, "\uFFFD"))
		}
		span.End()
	}
	bot := attribute.String("bot", s.Ref.Bot)
	ofBot := metric.WithAttributes(bot)
	switch s.Kind {
	case store.StageAccept:
		o.events.Add(ctx, 1, metric.WithAttributes(bot, attribute.String("result", r.Outcome)))
	case store.StageTurn:
		o.turns.Add(ctx, 1, metric.WithAttributes(bot, attribute.String("outcome", r.Outcome)))
		o.turnDuration.Record(ctx, r.Took.Seconds(), ofBot)
		if s.Attempt == 1 {
			o.eventWait.Record(ctx, max(r.Since-r.Took, 0).Seconds(), ofBot)
		}
		if r.Outcome == "handled" || r.Outcome == "dead" {
			o.events.Add(ctx, 1, metric.WithAttributes(bot, attribute.String("result", r.Outcome)))
			o.eventDuration.Record(ctx, r.Since.Seconds(), ofBot)
		}
	case store.StageSend:
		o.sends.Add(ctx, 1, metric.WithAttributes(bot, attribute.String("outcome", r.Outcome)))
		o.sendTime.Record(ctx, r.Took.Seconds(), ofBot)
	case store.StageAct:
		o.acts.Add(ctx, 1, metric.WithAttributes(attribute.String("act", s.Name)))
	case store.StageCall:
		o.callTime.Record(ctx, r.Took.Seconds(), metric.WithAttributes(attribute.String("script", s.Name)))
	}
	if s.TakenOver {
		o.takeovers.Add(ctx, 1, ofBot)
	}
}

// Trace returns the context of the span that ctx is in.
func (o *Observer) Trace(ctx context.Context) (b [25]byte) {
	span := trace.SpanContextFromContext(ctx)
	if !span.IsValid() {
		return b
	}
	id, in := span.TraceID(), span.SpanID()
	copy(b[:], id[:])
	copy(b[16:], in[:])
	b[24] = byte(span.TraceFlags())
	return b
}

// spanContext is what Trace returned, in whatever process.
func spanContext(b [25]byte) trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID(b[:16]), SpanID: trace.SpanID(b[16:24]), TraceFlags: trace.TraceFlags(b[24]), Remote: true,
	})
}

// Watch gives the gauges of a bot, until stop is called, each time that metrics are
// collected. In a process that does not serve the bot they are zero. Figures that cannot
// be read are left out, and OpenTelemetry's error handler is told why.
func (o *Observer) Watch(bot *store.Bot) (stop func() error, err error) {
	attributes := metric.WithAttributes(attribute.String("bot", bot.Name()))
	slots := func(state string) metric.ObserveOption {
		return metric.WithAttributes(attribute.String("bot", bot.Name()), attribute.String("state", state))
	}
	free, busy := slots("free"), slots("busy")
	r, err := o.meter.RegisterCallback(func(ctx context.Context, to metric.Observer) error {
		g, err := bot.OwnGauges(ctx)
		to.ObserveInt64(o.slots, int64(g.Slots-g.Busy), free)
		to.ObserveInt64(o.slots, int64(g.Busy), busy)
		if err != nil {
			return err
		}
		to.ObserveInt64(o.sessions, g.Sessions, attributes)
		to.ObserveInt64(o.waiting, g.Waiting, attributes)
		to.ObserveInt64(o.letters, g.DeadLetters, attributes)
		to.ObserveFloat64(o.oldest, g.Oldest.Seconds(), attributes)
		return nil
	}, o.sessions, o.waiting, o.letters, o.slots, o.oldest)
	if err != nil {
		return nil, err
	}
	return r.Unregister, nil
}
