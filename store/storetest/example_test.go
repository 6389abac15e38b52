package storetest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/botsession/botsession/store"
	"github.com/botsession/botsession/store/storetest"
)

// In a test, t is its *testing.T.
func ExampleNew() {
	t := new(exampleT)
	defer t.end()

	greet := func(_ context.Context, turn *store.Turn) error {
		turn.Reply("Hello, " + turn.Event().Text + ".")
		turn.Move("greeted")
		return nil
	}
	kit := storetest.New(t, greet, &store.BotOptions{Initial: "greeting"}, nil)
	got := kit.Say("ann", "Ann")
	fmt.Println(got.State, got.Replies)
	// Output: greeted [Hello, Ann.]
}

func ExampleKit_Advance() {
	t := new(exampleT)
	defer t.end()

	kit := storetest.New(t, func(_ context.Context, turn *store.Turn) error {
		if turn.Attempt() == 1 {
			return fmt.Errorf("the kitchen does not answer")
		}
		turn.Reply("Your pizza is in the oven.")
		return nil
	}, nil, nil)
	got := kit.Say("ann", "a pizza")
	fmt.Println(got.Retrying, got.Err)
	kit.Advance(time.Minute)
	for _, d := range kit.Sent() {
		fmt.Println(d.Message)
	}
	// Output:
	// true the kitchen does not answer
	// Your pizza is in the oven.
}

// exampleT stands in for the *testing.T that an example does not have.
type exampleT struct {
	testing.TB
	cleanups []func()
}

func (t *exampleT) Helper()                           {}
func (t *exampleT) Cleanup(f func())                  { t.cleanups = append(t.cleanups, f) }
func (t *exampleT) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
func (t *exampleT) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (t *exampleT) end() {
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
}
