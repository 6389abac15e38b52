package store

import (
	"context"

	"github.com/botsession/botsession/store/internal/call"
)

// each runs a script that writes nothing for each place.
func (s *Store) each(ctx context.Context, q request, places []place) []call.Result {
	return s.caller.Each(ctx, s.requests(q, places))
}

// readEach runs scripts that write nothing, for what a user reads: within the store's Timeout it goes on over
// what is of the moment, such as a fail-over.
func (s *Store) readEach(ctx context.Context, requests []call.Request) []call.Result {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	return s.caller.ReadEach(ctx, requests)
}

func (s *Store) requests(q request, places []place) []call.Request {
	requests := make([]call.Request, len(places))
	for i, at := range places {
		requests[i] = s.request(q, at)
	}
	return requests
}

// read sends plain commands that a user reads with; like readEach.
func (s *Store) read(ctx context.Context, commands ...call.Command) error {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	return s.caller.Read(ctx, commands...)
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
