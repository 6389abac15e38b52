package storetest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/storetest"
)

// pizza is the bot that these tests are about.
func pizza(_ context.Context, t *store.Turn) error {
	switch text := t.Event().Text; {
	case text == "broken":
		return errors.New("the oven is cold")
	case text == "never":
		return store.GiveUp(errors.New("we have no pineapple"))
	case text == "later" && t.Attempt() < 3:
		return errors.New("the dough is rising")
	case text == "/leave":
		t.Reply("Goodbye.")
		t.Destroy()
	case text == "panic":
		panic("dropped the plate")
	case t.State() == "greeting":
		t.Move("ordering")
		t.Reply("Which size?")
	default:
		t.Set("size", text)
		t.Reply("A " + text + " pizza it is.")
		t.Reply("Enjoy!")
	}
	return nil
}

func TestSayReportsWhatCameOfAMessage(t *testing.T) {
	t.Parallel()
	kit := storetest.New(t, pizza, &store.BotOptions{Initial: "greeting"}, nil)
	got := kit.Say("ann", "a pizza")
	if got.State != "ordering" || !slices.Equal(got.Replies, []string{"Which size?"}) || got.Err != "" || got.Retrying {
		t.Errorf("after the first message: %+v", got)
	}
	got = kit.Say("ann", "big")
	if got.State != "ordering" || !slices.Equal(got.Replies, []string{"A big pizza it is.", "Enjoy!"}) {
		t.Errorf("after the second message: %+v", got)
	}
	if len(got.Messages) != 2 || got.Messages[1].Seq != 5 || got.Messages[1].From != session.FromBot {
		t.Errorf("messages: %+v, want the fourth and fifth of the chat", got.Messages)
	}
	if other := kit.Say("bob", "hello"); other.State != "ordering" {
		t.Errorf("another user's session: %+v", other)
	}
	size, found, err := kit.Bot().Session("ann").Get(t.Context(), "size")
	if size != "big" || !found || err != nil {
		t.Errorf("size %v, found %v, error %v", size, found, err)
	}
	snap, err := kit.Bot().Session("ann").Load(t.Context())
	if err != nil || snap.User != "ann" || !snap.Active.Equal(kit.Now()) {
		t.Errorf("session %+v, %v; want ann's, active now", snap, err)
	}
}

func TestAFailedHandlerIsRetriedWhenTheClockSaysSo(t *testing.T) {
	t.Parallel()
	kit := storetest.New(t, pizza, &store.BotOptions{Initial: "greeting", Backoff: time.Minute}, nil)
	got := kit.Say("ann", "later")
	if !got.Retrying || got.Err != "the dough is rising" || got.State != "greeting" || len(got.Replies) != 0 {
		t.Errorf("after a failure: %+v", got)
	}
	if behind := kit.Say("ann", "big"); !behind.Retrying || behind.Err != "" || behind.State != "greeting" {
		t.Errorf("behind a failed message: %+v", behind)
	}
	kit.Advance(59 * time.Second)
	if sent := kit.Sent(); len(sent) != 0 {
		t.Errorf("sent before the back-off is over: %+v", sent)
	}
	kit.Advance(2*time.Minute + time.Second) // a minute to the second attempt, two more to the third
	if again := kit.Say("ann", "small"); again.Retrying || again.State != "ordering" {
		t.Errorf("after the back-off: %+v", again)
	}
	var texts []string
	for _, d := range kit.Sent() {
		texts = append(texts, d.Message.String())
	}
	if want := []string{"Which size?", "A big pizza it is.", "Enjoy!", "A small pizza it is.", "Enjoy!"}; !slices.Equal(texts, want) {
		t.Errorf("sent %q, want %q", texts, want)
	}
}

func TestAnEventThatKeepsFailingIsADeadLetter(t *testing.T) {
	t.Parallel()
	var dead []session.DeadLetter
	kit := storetest.New(t, pizza, &store.BotOptions{Initial: "greeting", MaxAttempts: 4}, &store.ServeOptions{Dead: func(_ context.Context, d session.DeadLetter) {
		dead = append(dead, d)
	}})
	if got := kit.Say("ann", "never"); got.Err != "we have no pineapple" || got.Retrying || got.State != "greeting" {
		t.Errorf("given up: %+v", got)
	}
	got := kit.Send("ann", session.Event{ID: "e", Text: "broken"})
	if !got.Retrying {
		t.Errorf("after one failure: %+v", got)
	}
	kit.Advance(time.Hour) // all the attempts that are left
	if got = kit.Send("ann", session.Event{ID: "e", Text: "broken"}); got.Retrying || got.Err != "the oven is cold" {
		t.Errorf("delivered again after the last attempt: %+v", got)
	}
	if len(dead) != 2 || dead[1].Failures != 4 {
		t.Errorf("dead letters: %+v", dead)
	}
	if got := kit.Say("bob", "panic"); !got.Retrying || got.Err != "the handler panicked: dropped the plate" {
		t.Errorf("after a panic: %+v", got)
	}
}

func TestADuplicateGetsTheSameOutcome(t *testing.T) {
	t.Parallel()
	kit := storetest.New(t, pizza, &store.BotOptions{Initial: "greeting"}, nil)
	event := session.Event{ID: "e", Text: "hello"}
	first, second := kit.Send("ann", event), kit.Send("ann", event)
	if !slices.Equal(first.Replies, second.Replies) || second.State != "ordering" {
		t.Errorf("first %+v, then %+v", first, second)
	}
	kit.Say("ann", "broken") // and now something waits
	if third := kit.Send("ann", event); third.Retrying || !slices.Equal(first.Replies, third.Replies) {
		t.Errorf("while another event is retried: %+v", third)
	}
}

func TestTheKitsClockRunsOutTimesToLive(t *testing.T) {
	t.Parallel()
	kit := storetest.New(t, pizza, &store.BotOptions{Initial: "greeting", TTL: time.Hour, DedupeWindow: 24 * time.Hour}, nil)
	start := kit.Now()
	kit.Say("ann", "hello")
	kit.Advance(59 * time.Minute)
	if got := kit.Say("ann", "big"); got.State != "ordering" {
		t.Errorf("within the hour: %+v", got)
	}
	kit.Advance(61 * time.Minute)
	if _, err := kit.Bot().Session("ann").Load(t.Context()); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("after the hour: %v, want %v", err, session.ErrNotFound)
	}
	if got := kit.Say("ann", "hello"); got.Replies[0] != "Which size?" {
		t.Errorf("back again: %+v", got)
	}
	if passed := kit.Now().Sub(start); passed != 2*time.Hour {
		t.Errorf("the clock moved by %v, want two hours", passed)
	}
	kit.Advance(40 * 24 * time.Hour) // even what outlives a session
	if got := kit.Say("ann", "hello"); got.State != "ordering" || len(got.Replies) != 1 {
		t.Errorf("a month later: %+v", got)
	}
}

func TestASessionThatItsTurnEndedHasNoState(t *testing.T) {
	t.Parallel()
	kit := storetest.New(t, pizza, &store.BotOptions{Initial: "greeting"}, nil)
	kit.Say("ann", "hello")
	if got := kit.Say("ann", "/leave"); got.State != "" || got.Err != "" || got.Retrying {
		t.Errorf("after the session ended: %+v", got)
	}
	if sent := kit.Sent(); len(sent) != 2 || sent[1].Message.String() != "Goodbye." {
		t.Errorf("sent %+v, want the farewell", sent)
	}
}

func TestTheOptionsSendIsUsed(t *testing.T) {
	t.Parallel()
	down := true
	kit := storetest.New(t, pizza, &store.BotOptions{Initial: "greeting"}, &store.ServeOptions{Send: func(context.Context, store.Delivery) error {
		if down {
			return errors.New("the platform is down")
		}
		return nil
	}})
	got := kit.Say("ann", "hello")
	if !slices.Equal(got.Replies, []string{"Which size?"}) || len(kit.Sent()) != 0 {
		t.Errorf("%+v, sent %+v; want the reply, and nothing sent", got, kit.Sent())
	}
	down = false
	kit.Advance(time.Minute)
	if len(kit.Sent()) != 1 {
		t.Errorf("sent %+v, want one", kit.Sent())
	}
}

// Send may put a reply off for a day, and no longer; each letter has its own age.
func TestWhatIsPutOffAndWhatIsDeadEnds(t *testing.T) {
	t.Parallel()
	kit := storetest.New(t, func(_ context.Context, turn *store.Turn) error {
		if turn.Event().Text == "bad" {
			return store.GiveUp(errors.New("no"))
		}
		turn.Reply("hello")
		return nil
	}, &store.BotOptions{TTL: -1}, &store.ServeOptions{Send: func(_ context.Context, d store.Delivery) error {
		return store.RetryAfter(time.Hour, errors.New("flood wait"))
	}})
	letters := func() []session.DeadLetter {
		t.Helper()
		all, err := kit.Bot().Session("ann").DeadLetters(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	kit.Say("ann", "hi")
	kit.Advance(23 * time.Hour)
	if n := len(letters()); n != 0 {
		t.Fatalf("%d dead letters before a day is over", n)
	}
	kit.Advance(3 * time.Hour)
	if all := letters(); len(all) != 1 || all[0].Reply == nil || all[0].Failures != 0 || !strings.Contains(all[0].Error, "flood wait") {
		t.Fatalf("dead letters %+v, want the reply, without a failure", all)
	}
	for range 5 { // a letter every ten days
		kit.Advance(10 * 24 * time.Hour)
		kit.Say("ann", "bad")
	}
	if all := letters(); len(all) != 3 {
		t.Errorf("%d dead letters, want those of the last thirty days", len(all))
	}
}

// What the handler, or Send, puts off is tried again each minute at most, and until MaxWait.
func TestWhatIsPutOffByLaterEnds(t *testing.T) {
	t.Parallel()
	down := store.Later(errors.New("it is down"))
	for name, c := range map[string]struct {
		handler error
		send    error
	}{"an event": {handler: down}, "a reply": {send: down}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tries := 0
			kit := storetest.New(t, func(_ context.Context, turn *store.Turn) error {
				turn.Reply("hello")
				if c.handler != nil {
					tries++
				}
				return c.handler
			}, &store.BotOptions{MaxWait: 20 * time.Minute}, &store.ServeOptions{Send: func(context.Context, store.Delivery) error {
				tries++
				return c.send
			}})
			kit.Say("ann", "hi")
			kit.Advance(20*time.Minute - time.Second)
			letters := func() []session.DeadLetter {
				t.Helper()
				all, err := kit.Bot().Session("ann").DeadLetters(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				return all
			}
			// After 0, 1, 3, 7, 15, 31 and 63 seconds, and then each minute; the first few may
			// be fewer, because the machine's own time counts beside the kit's.
			if tries < 20 || tries > 25 || len(letters()) != 0 {
				t.Errorf("%d tries within twenty minutes, and %d dead letters", tries, len(letters()))
			}
			kit.Advance(2 * time.Second)
			if all := letters(); len(all) != 1 || (all[0].Event != nil) != (c.handler != nil) || all[0].Failures != 0 {
				t.Errorf("dead letters %+v, want one, without a failure", all)
			}
		})
	}
}

func TestNoTwoDeadLettersOfASessionHaveOneTime(t *testing.T) {
	t.Parallel()
	kit := storetest.New(t, pizza, nil, nil)
	for range 3 { // while the kit's clock stands still
		kit.Say("ann", "never")
	}
	letters, err := kit.Bot().Session("ann").DeadLetters(t.Context())
	if err != nil || len(letters) != 3 {
		t.Fatalf("%d dead letters, %v", len(letters), err)
	}
	for i, letter := range letters {
		if want := letters[0].Time.Add(time.Duration(i) * time.Millisecond); !letter.Time.Equal(want) {
			t.Errorf("letter %d is of %v, want %v", i, letter.Time, want)
		}
		if letter.Holder == "" {
			t.Errorf("letter %d does not say who gave it up", i)
		}
	}
}
