package call

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// A Result is what came of one request among many.
type Result struct {
	Reply Reply
	Err   error
}

// ReadEach is Each, and sends those again, until ctx ends, that failed for reasons of
// the moment.
func (c *Caller) ReadEach(ctx context.Context, requests []Request) []Result {
	results := c.Each(ctx, requests)
	for try := 0; ; try++ {
		var left []int
		var again []Request
		for i, r := range results {
			if r.Err != nil && Passing(r.Err) {
				left, again = append(left, i), append(again, requests[i])
			}
		}
		if len(left) == 0 || !Sleep(ctx, c.Backoff(try, "read")) {
			return results
		}
		for i, r := range c.Each(ctx, again) {
			results[left[i]] = r
		}
	}
}

// Each sends requests whose scripts write nothing, once, all in one pipeline, and
// returns what came of each, whatever came of the others.
func (c *Caller) Each(ctx context.Context, requests []Request) []Result {
	results := make([]Result, len(requests))
	send := func(full bool) (unknown bool) {
		cmds := make([]*redis.Cmd, len(requests))
		_, _ = c.client.Pipelined(ctx, func(pipe redis.Pipeliner) error { // each command has its own error
			for i := range requests {
				if full && !redis.HasErrorPrefix(results[i].Err, "NOSCRIPT") {
					continue
				}
				r := &requests[i]
				words, _ := r.words("") // no call's id, no deadline
				words[0], words[1] = "evalsha", r.Script.SHA()
				if full {
					words[0], words[1] = "eval", r.Script.Text()
				}
				cmds[i] = redis.NewCmd(ctx, words...)
				cmds[i].SetFirstKeyPos(3)
				var queued redis.Cmder = cmds[i]
				if isCluster(c.client) {
					queued = unrepeated{queued}
				}
				_ = pipe.Process(ctx, queued)
			}
			return nil
		})
		for i, cmd := range cmds {
			if cmd != nil {
				var values []any
				values, results[i].Err = cmd.Slice()
				results[i].Reply = NewReply(requests[i].Script, values)
				unknown = unknown || redis.HasErrorPrefix(results[i].Err, "NOSCRIPT")
			}
		}
		return unknown
	}
	if send(false) {
		send(true)
	}
	for i, r := range results {
		if r.Err == nil {
			c.Clock.Heard(requests[i].Node, r.Reply.Now())
		}
	}
	return results
}
