// Command botsession looks into the bot sessions that a fleet keeps in Redis,
// mends what is wrong with them, and shows with real processes what the fleet survives.
//
//	botsession demo                      # three replicas, one is killed, nothing is lost
//	export REDIS_URL=redis://127.0.0.1:6379
//	botsession ls pizza                  # who is talking to the bot
//	botsession show pizza/42             # everything about one session
//	botsession history pizza/42 -n 20    # what was said, and what waits
//	botsession skip pizza/42             # give up the event that it cannot handle
//	botsession settings pizza ttl=168h   # a setting of the bot, changed for all processes
//	botsession chat http://HOST:8080     # talk to the bot of a running fleet
//
// Data goes to stdout and messages to stderr. The exit code is 0 if it did what
// was asked, 1 if that failed, 2 if it was asked wrongly, 3 if there is no such
// bot or session, 4 if the server is out of reach, and 5 if what was to be done does
// not fit what is there now.
package main

import (
	"context"
	"os"

	"github.com/redis/go-redis/v9"
)

func main() {
	redis.SetLogger(quiet{}) // what goes wrong comes back as an error
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// quiet drops what the Redis client would log on stderr.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}
