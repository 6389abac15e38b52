package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/botsession/botsession/store"
)

// A pizza is the bot of a replica without a demo, which takes the order for a pizza.
// Its state says what it has asked for, and its private data is what it was told:
//
//	greeting ─▶ size ─▶ topping ─▶ confirm ── yes ──▶ ordered ─▶ size, for another one
//	              ▲                   │
//	              └─────── no ────────┘
//
// Its replies go to no platform. They are in the chat, and the webhook returns them.
type pizza struct{ bot *store.Bot }

func pizzaOptions() *store.BotOptions {
	return &store.BotOptions{Initial: "greeting", RecordOnly: true}
}

// What the bot is told, and may be told.
const (
	size    store.Key[string] = "size"
	topping store.Key[string] = "topping"
)

var (
	sizes    = []string{"small", "medium", "large"}
	toppings = []string{"basil", "mushrooms", "olives"}
)

// handle asks for what is missing, and again if it does not understand.
func (p pizza) handle(_ context.Context, t *store.Turn) error {
	text := t.Event().Text
	switch t.State() {
	default:
		t.Move("size")
		t.Reply("One pizza! Which size: small, medium or large?")
	case "size":
		if said := mention(text, sizes); said != "" {
			size.Set(t, said)
			t.Move("topping")
			t.Reply("And on it: basil, mushrooms or olives?")
		} else {
			t.Reply("Small, medium or large?")
		}
	case "topping":
		if said := mention(text, toppings); said != "" {
			topping.Set(t, said)
			t.Move("confirm")
			chosen, _ := size.Get(t)
			t.Reply(fmt.Sprintf("A %s pizza with %s. Shall I order it?", chosen, said))
		} else {
			t.Reply("Basil, mushrooms or olives?")
		}
	case "confirm":
		switch mention(text, []string{"yes", "no"}) {
		case "yes":
			t.Move("ordered")
			t.Reply("It is in the oven.")
		case "no":
			size.Delete(t)
			topping.Delete(t)
			t.Move("size")
			t.Reply("Then from the start: small, medium or large?")
		default:
			t.Reply("Yes or no?")
		}
	}
	return nil
}

// mention returns the first word of a text that is one of those, or nothing.
func mention(text string, words []string) string {
	for word := range strings.FieldsFuncSeq(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) }) {
		if slices.Contains(words, word) {
			return word
		}
	}
	return ""
}

// webhook accepts an event, waits for its turn, and returns the replies. Who hears
// nothing, or of an error that is not the event's own, posts it again: a duplicate
// gets the same replies.
func (p pizza) webhook(w http.ResponseWriter, req *http.Request) {
	receipt := accept(p.bot, w, req)
	if receipt == nil {
		return
	}
	outcome, err := receipt.Wait(req.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	response := webhookResponse{Duplicate: receipt.Duplicate, Outcome: outcome.Status, Reason: outcome.Reason}
	for _, m := range outcome.Replies {
		response.Replies = append(response.Replies, m.String())
	}
	json.NewEncoder(w).Encode(response)
}
