package telemetry_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/embedded"
	"github.com/botsession/botsession/store/telemetry"
)

// A process has a store of its own, and an observer with exporters in memory.
type process struct {
	store    *store.Store
	bot      *store.Bot
	observer *telemetry.Observer
	spans    *tracetest.InMemoryExporter
	tracer   trace.Tracer
	metrics  *sdkmetric.ManualReader
}

func newProcess(t *testing.T, url string, opts telemetry.Options, lease time.Duration) *process {
	t.Helper()
	p := &process{spans: tracetest.NewInMemoryExporter(), metrics: sdkmetric.NewManualReader()}
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSyncer(p.spans))
	p.tracer = tracers.Tracer("test")
	opts.TracerProvider, opts.MeterProvider = tracers, sdkmetric.NewMeterProvider(sdkmetric.WithReader(p.metrics))
	var err error
	if p.observer, err = telemetry.New(&opts); err != nil {
		t.Fatal(err)
	}
	if p.store, err = store.Open(t.Context(), url, &store.Options{Observer: p.observer, Lease: lease, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.store.Close() })
	if p.bot, err = p.store.Bot(t.Context(), "pizza", &store.BotOptions{Backoff: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	return p
}

func server(t *testing.T) string {
	t.Helper()
	st, err := embedded.Open(t.Context(), &store.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st.URL()
}

// drain handles what is due until done, with a bound for a broken test.
func (p *process) drain(t *testing.T, ctx context.Context, h store.Handler, send func(context.Context, store.Delivery) error, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("what is due is never handled; spans: %v", p.spans.GetSpans())
		}
		if _, err := p.bot.Drain(ctx, h, &store.ServeOptions{Send: send}); err != nil && !errors.Is(err, context.Canceled) && !done() {
			t.Fatal(err)
		}
	}
}

func silent(context.Context, store.Delivery) error { return nil }

// named returns the one span of a name that a process has ended.
func (p *process) named(t *testing.T, name string) tracetest.SpanStub {
	t.Helper()
	var found []tracetest.SpanStub
	for _, span := range p.spans.GetSpans() {
		if span.Name == name {
			found = append(found, span)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d spans are called %q", len(found), name)
	}
	return found[0]
}

func has(span tracetest.SpanStub, key string) string {
	for _, a := range span.Attributes {
		if string(a.Key) == key {
			return a.Value.Emit()
		}
	}
	return ""
}

func childOf(t *testing.T, what string, child, parent tracetest.SpanStub) {
	t.Helper()
	if child.Parent.SpanID() != parent.SpanContext.SpanID() || child.SpanContext.TraceID() != parent.SpanContext.TraceID() {
		t.Errorf("%s: %v is no child of %v", what, child.SpanContext, parent.SpanContext)
	}
}

// An event is accepted by one process. One replica dies with it in hand, another, whose
// handler replies, stops before that is sent, and a third sends it.
func TestOneTraceFollowsAnEventThroughTheFleet(t *testing.T) {
	t.Parallel()
	url := server(t)
	web, first, second, third := newProcess(t, url, telemetry.Options{}, 0), newProcess(t, url, telemetry.Options{}, 100*time.Millisecond), newProcess(t, url, telemetry.Options{}, 0), newProcess(t, url, telemetry.Options{}, 0)

	ctx, webhook := web.tracer.Start(t.Context(), "webhook")
	if _, err := web.bot.Accept(ctx, "ann", session.Event{ID: "update-1", Text: "a pizza"}); err != nil {
		t.Fatal(err)
	}
	webhook.End()
	tried := false
	first.drain(t, t.Context(), func(context.Context, *store.Turn) error {
		tried = true
		return first.store.Close() // as if the process had ended
	}, silent, func() bool { return tried })

	stopping, stop := context.WithCancel(t.Context())
	handled := false
	second.drain(t, stopping, func(ctx context.Context, turn *store.Turn) error {
		_, own := second.tracer.Start(ctx, "think")
		own.End()
		turn.Reply("Which size?")
		handled = true
		stop() // so that another replica sends the reply
		<-ctx.Done()
		return nil
	}, silent, func() bool { return handled })

	sent := false
	third.drain(t, t.Context(), func(context.Context, *store.Turn) error { return nil }, func(ctx context.Context, d store.Delivery) error {
		_, own := third.tracer.Start(ctx, "post")
		own.End()
		sent = d.Message.String() == "Which size?"
		return nil
	}, func() bool { return sent })

	accept, turn1, turn2, send := web.named(t, "accept"), first.named(t, "turn"), second.named(t, "turn"), third.named(t, "send")
	childOf(t, "the accept", accept, web.named(t, "webhook"))
	childOf(t, "the first attempt", turn1, accept)
	childOf(t, "the second attempt", turn2, accept)
	childOf(t, "the handler's own", second.named(t, "think"), turn2)
	childOf(t, "the send", send, turn2)
	childOf(t, "Send's own", third.named(t, "post"), send)
	if len(turn1.Links) != 0 || len(send.Links) != 0 {
		t.Errorf("first attempts have links: %v, %v", turn1.Links, send.Links)
	}
	if len(turn2.Links) != 1 || turn2.Links[0].SpanContext.SpanID() != accept.SpanContext.SpanID() {
		t.Errorf("the second attempt has the links %v, and not one to the accept", turn2.Links)
	}
	if got := second.read(t)["botsession.takeovers pizza"]; got != 1 {
		t.Errorf("%v takeovers are counted", got)
	}
	for _, c := range []struct {
		span             tracetest.SpanStub
		by               *process
		outcome, attempt string
		status           codes.Code
	}{
		{accept, web, "accepted", "1", codes.Unset}, {turn1, first, "lost", "1", codes.Error},
		{turn2, second, "handled", "2", codes.Unset}, {send, third, "sent", "1", codes.Unset},
	} {
		if has(c.span, "botsession.outcome") != c.outcome || has(c.span, "botsession.attempt") != c.attempt || c.span.Status.Code != c.status ||
			has(c.span, "botsession.session") != "ann" || has(c.span, "botsession.event") != "update-1" || has(c.span, "botsession.replica") != c.by.store.Name() {
			t.Errorf("%s says %v, %v", c.span.Name, c.span.Attributes, c.span.Status)
		}
		if has(c.span, "messaging.system") != "" {
			t.Errorf("%s follows the conventions, and nobody asked for that: %v", c.span.Name, c.span.Attributes)
		}
		for _, a := range c.span.Attributes {
			if strings.Contains(a.Value.Emit(), "a pizza") || strings.Contains(a.Value.Emit(), "Which size?") {
				t.Errorf("%s says what was written: %v", c.span.Name, a)
			}
		}
	}
}

func TestTheConventionsAreFollowedIfAskedFor(t *testing.T) {
	t.Parallel()
	p := newProcess(t, server(t), telemetry.Options{Conventions: true}, 0)
	if _, err := p.bot.Accept(t.Context(), "ann", session.Event{ID: "1", Text: "hello"}); err != nil {
		t.Fatal(err)
	}
	done := false
	p.drain(t, t.Context(), func(context.Context, *store.Turn) error { done = true; return nil }, silent, func() bool { return done })
	accept, turn := p.named(t, "accept"), p.named(t, "turn")
	if has(accept, "messaging.operation.type") != "send" || has(turn, "messaging.operation.type") != "process" || has(turn, "messaging.message.id") != "1" ||
		has(turn, "gen_ai.conversation.id") != "pizza/ann" || has(accept, "gen_ai.conversation.id") != "" {
		t.Errorf("accept %v, turn %v", accept.Attributes, turn.Attributes)
	}
}

func TestADeadLetterThatIsDeliveredAgainBeginsATraceWithALink(t *testing.T) {
	t.Parallel()
	p := newProcess(t, server(t), telemetry.Options{}, 0)
	accepted := p.observer.Begin(t.Context(), store.Stage{Kind: store.StageAccept, Attempt: 1})
	from := p.observer.Trace(accepted)
	again := store.Stage{Kind: store.StageTurn, Attempt: 1, Redelivered: true, Trace: from}
	p.observer.End(p.observer.Begin(t.Context(), again), again, store.Result{Outcome: "handled"})
	turn := p.named(t, "turn")
	if turn.Parent.IsValid() || len(turn.Links) != 1 || turn.Links[0].SpanContext.SpanID() != trace.SpanContextFromContext(accepted).SpanID() {
		t.Errorf("parent %v, links %v", turn.Parent, turn.Links)
	}
}

// read returns the metrics of a process: of a counter or gauge the value, of a histogram how
// many values it has, by the name and the labels.
func (p *process) read(t *testing.T) map[string]float64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := p.metrics.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			put := func(labels attribute.Set, value float64) {
				name := m.Name
				for _, l := range labels.ToSlice() {
					if !slices.Contains([]string{"bot", "result", "outcome", "act", "script", "state"}, string(l.Key)) {
						t.Errorf("%s has the label %s", m.Name, l.Key)
					}
					name += " " + l.Value.Emit()
				}
				found[name] = value
			}
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, d := range data.DataPoints {
					put(d.Attributes, float64(d.Value))
				}
			case metricdata.Gauge[int64]:
				for _, d := range data.DataPoints {
					put(d.Attributes, float64(d.Value))
				}
			case metricdata.Gauge[float64]:
				for _, d := range data.DataPoints {
					put(d.Attributes, d.Value)
				}
			case metricdata.Histogram[float64]:
				for _, d := range data.DataPoints {
					put(d.Attributes, float64(d.Count))
					if d.Bounds[0] != .005 || d.Bounds[len(d.Bounds)-1] != 300 {
						t.Errorf("%s has the bounds %v", m.Name, d.Bounds)
					}
				}
			default:
				t.Errorf("%s is a %T", m.Name, data)
			}
		}
	}
	return found
}

func TestTheMetricsCountWhatHappened(t *testing.T) {
	t.Parallel()
	p := newProcess(t, server(t), telemetry.Options{}, 0)
	stop, err := p.observer.Watch(p.bot)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- p.bot.Serve(ctx, func(_ context.Context, turn *store.Turn) error {
			if turn.Event().Text == "give up" {
				return store.GiveUp(errors.New("no such product"))
			}
			if turn.Attempt() == 1 && turn.Event().Text == "fail" {
				return errors.New("once")
			}
			turn.Reply("hi")
			return nil
		}, &store.ServeOptions{Send: silent, Concurrency: 8})
	}()
	for _, text := range []string{"hello", "hello", "fail", "give up"} {
		receipt, err := p.bot.Accept(t.Context(), text, session.Event{ID: text, Text: text})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := receipt.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.bot.Session("hello").Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{
		"botsession.events pizza accepted": 3, "botsession.events pizza duplicate": 1, "botsession.events pizza handled": 2, "botsession.events pizza dead": 1,
		"botsession.turns pizza handled": 2, "botsession.turns pizza failed": 1, "botsession.turns pizza dead": 1, "botsession.sends pizza sent": 2,
		"botsession.acts destroy": 1, "botsession.event.wait pizza": 3, "botsession.event.duration pizza": 3, "botsession.turn.duration pizza": 4, "botsession.send.duration pizza": 2,
		"botsession.sessions pizza": 2, "botsession.events.waiting pizza": 0, "botsession.events.oldest_age pizza": 0, "botsession.dead_letters pizza": 1,
		"botsession.slots pizza free": 8, "botsession.slots pizza busy": 0,
	}
	var got map[string]float64
	for limit := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		got = p.read(t)
		maps.DeleteFunc(got, func(name string, _ float64) bool { return strings.HasPrefix(name, "botsession.call.duration ") })
		if maps.Equal(got, want) {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
	if calls := p.read(t); calls["botsession.call.duration accept"] < 4 {
		t.Errorf("the calls are not counted: %v", calls)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, there := p.read(t)["botsession.sessions pizza"]; there {
		t.Error("the gauges are still given")
	}
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
