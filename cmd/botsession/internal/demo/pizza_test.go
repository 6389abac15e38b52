package demo

import (
	"slices"
	"testing"

	"github.com/botsession/botsession/store/storetest"
)

func TestThePizzaBotTakesAnOrder(t *testing.T) {
	t.Parallel()
	kit := storetest.New(t, pizza{}.handle, pizzaOptions(), nil)
	for _, turn := range []struct{ text, state, reply string }{
		{"hello", "size", "One pizza! Which size: small, medium or large?"},
		{"enlarged", "size", "Small, medium or large?"},
		{"A LARGE one, please", "topping", "And on it: basil, mushrooms or olives?"},
		{"ham", "topping", "Basil, mushrooms or olives?"},
		{"olives", "confirm", "A large pizza with olives. Shall I order it?"},
		{"why?", "confirm", "Yes or no?"},
		{"no", "size", "Then from the start: small, medium or large?"},
		{"small", "topping", "And on it: basil, mushrooms or olives?"},
		{"basil", "confirm", "A small pizza with basil. Shall I order it?"},
		{"Yes!", "ordered", "It is in the oven."},
		{"another", "size", "One pizza! Which size: small, medium or large?"},
	} {
		said := kit.Say("ann", turn.text)
		if said.State != turn.state || !slices.Equal(said.Replies, []string{turn.reply}) {
			t.Errorf("%q: state %s, replies %q; want %s, %q", turn.text, said.State, said.Replies, turn.state, turn.reply)
		}
	}
}
