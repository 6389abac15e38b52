package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/embedded"
)

// A trouble is the bot of a fleet in trouble, for people who try the tool: what its
// handler and its Send do depends on what the user said, and who it is.
type trouble struct{}

func troubleOptions() *store.BotOptions {
	return &store.BotOptions{Initial: "start", TTL: time.Hour, Backoff: time.Minute}
}

// The times of a replica in trouble: short, so that a frozen one is soon overtaken and a
// handler that hangs is soon known.
const (
	troubleLease   = 5 * time.Second
	troubleMaxTurn = 20 * time.Second
)

func (trouble) handle(_ context.Context, t *store.Turn) error {
	switch t.Event().Text {
	case "/pay":
		return errors.New("billing API: 503 Service Unavailable")
	case "/menu":
		var menu map[string][]string
		return fmt.Errorf("no dish: %s", menu["today"][0]) // the deploy that forgot the menu
	case "/ask":
		return store.Later(errors.New("model provider: connection refused"))
	case "/giveup":
		return store.GiveUp(errors.New("no such product"))
	case "/hang":
		select {} // not even for its context
	}
	t.Move("booking")
	t.Reply("noted: " + t.Event().Text)
	return nil
}

func (trouble) send(_ context.Context, d store.Delivery) error {
	if strings.HasPrefix(d.Ref.ID, "banned-") {
		return errors.New("403 Forbidden: the bot was blocked")
	}
	return nil
}

// Trouble brings a fleet into trouble, says what is wrong with it, and keeps it so until
// ctx ends: for people who try to find it out, and to mend it. It returns nil then, or
// why it could not go on.
func Trouble(ctx context.Context, o Options) error {
	url := o.Redis
	if url == "" {
		server, err := embedded.Open(ctx, &store.Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		defer server.Close()
		url = server.URL()
	}
	st, err := o.Open(ctx, url, &store.Options{Namespace: o.Namespace, Name: "demo", Logger: text.NewLogger(o.Err)})
	if err != nil {
		return err
	}
	defer st.Close()
	program, err := executable()
	if err != nil {
		return err
	}
	bot, err := st.Bot(ctx, "hotel", troubleOptions())
	if err != nil {
		return err
	}
	alone, err := st.Bot(ctx, "motel", troubleOptions())
	if err != nil {
		return err
	}
	serving, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	say := func(format string, args ...any) { fmt.Fprintf(o.Err, format+"\n", args...) }
	f := &fleet{executable: program, say: say, crashed: cancel, config: replicaConfig{
		Redis: url, Namespace: o.Namespace, Bot: bot.Name(), Lease: troubleLease, Verbose: o.Verbose, Trouble: true,
	}}
	if o.Verbose {
		f.verbose = o.Err
	}
	defer f.stop()
	var replicas []*replica
	for range 3 {
		r, err := f.join(serving)
		if err != nil {
			return err
		}
		replicas = append(replicas, r)
	}
	if err := misfortunes(serving, bot, alone); err != nil {
		return err
	}
	f.kill(replicas[2])
	frozen := ""
	if CanFreeze {
		if err := stopProcess(replicas[1].cmd.Process); err != nil {
			return fmt.Errorf("freeze %s: %w", replicas[1], err)
		}
		defer continueProcess(replicas[1].cmd.Process) // so that it can end
		frozen = fmt.Sprintf(", and %s stands still", replicas[1])
	}
	say("The bot hotel is in trouble: one user waits for an answer, others' messages fail since")
	say("the last deploy, a provider is down, a platform has banned the bot, one user floods it,")
	say("sessions are in the state broken, the user dan wants to be forgotten, replica 3 is gone%s.", frozen)
	say("Nobody serves the bot motel. Find it out, and mend it, in another terminal:")
	say("")
	say("  export REDIS_URL=%s", text.Address(url))
	say("  botsession stats")
	say("  botsession stuck hotel")
	say("")
	say("It stays so until ctrl-C.")
	<-serving.Done()
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(serving)
}

// misfortunes has users say what brings the bot into trouble.
func misfortunes(ctx context.Context, bot, alone *store.Bot) error {
	said := 0
	say := func(b *store.Bot, id, user, text string) error {
		said++
		_, err := b.Accept(ctx, id, session.Event{ID: fmt.Sprint(1000000 + said), Text: text, User: user, Platform: "telegram"})
		return err
	}
	var err error
	each := func(n int, who, text string) {
		for i := range n {
			if err == nil {
				id := fmt.Sprintf("%s-%d", who, i+1)
				err = say(bot, id, id, text)
			}
		}
	}
	one := func(b *store.Bot, id, text string) {
		if err == nil {
			err = say(b, id, id, text)
		}
	}
	each(20, "guest", "two nights")
	each(5, "poison", "/menu")
	each(5, "late", "/ask")
	each(3, "banned", "hello")
	each(10, "gave-up", "/giveup")
	one(bot, "ann", "/pay")
	one(bot, "ann", "hello?")
	one(bot, "eve", "/hang")
	for i := range 999 {
		one(bot, "eve", fmt.Sprint("flood ", i))
	}
	for _, id := range []string{"dan-1", "dan-2", "dan-3"} {
		if err == nil {
			err = say(bot, id, "dan", map[string]string{"dan-1": "my number is 555 0100", "dan-2": "/giveup", "dan-3": "a room"}[id])
		}
	}
	for i := range 50 {
		if err == nil {
			_, err = bot.Session(fmt.Sprintf("lost-%d", i+1)).Create(ctx, store.Origin{State: "broken", Platform: "telegram"})
		}
	}
	for _, id := range []string{"one", "two", "three"} {
		one(alone, id, "is anybody there?")
	}
	return err
}
