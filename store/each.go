package store

import (
	"context"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/store/internal/call"
)

// each runs a script that writes nothing for each place.
func (b *Bot) each(ctx context.Context, script *lua.Script, places []place, args ...string) []call.Result {
	requests := make([]call.Request, len(places))
	for i, at := range places {
		requests[i] = call.Request{Script: script, Keys: b.store.layout.keys(script, at), Args: args, Node: at.bucket}
	}
	return b.store.caller.Each(ctx, requests)
}

// present pairs those fields that a hash has with their values.
func present(fields []string, values []any) (pairs []string) {
	for i, v := range values {
		if text, ok := v.(string); ok {
			pairs = append(pairs, fields[i], text)
		}
	}
	return pairs
}
