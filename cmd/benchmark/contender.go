package main

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// A contender is one way of keeping a chatbot's sessions in Redis. Each has a
// file of its own, and makes the same turn in its own terms: load the session,
// append the user's message, set an intent, move the state, set two values,
// append a reply, save.
type contender struct {
	name string
	note string // what it guards, what it leaves out
	open func(context.Context, env) (instance, error)

	perMessage int  // bytes on the server, roughly, so that all sessions fit into its memory
	buckets    bool // it keeps an index in 256 buckets
}

// env is what a contender is given to open itself with.
type env struct {
	url     string        // of the server, perhaps through the counting proxy
	control *redis.Client // to the server directly, for what is not measured
	prefix  string        // of all its keys
	turns   map[string]exchange
}

// An instance is a contender's client in one process. Turn is called by many
// goroutines, each on sessions of its own; the others by one, while none of
// those run.
type instance interface {
	// prepare makes a session for each user, with that chat in it.
	prepare(ctx context.Context, users []string, chat []exchange) error
	// turn makes one turn.
	turn(ctx context.Context, user string, x exchange) error
	close() error
}

// A restorer brings the sessions' chats back to the length they were prepared
// with. What a turn costs the others does not depend on it.
type restorer interface {
	restore(ctx context.Context, users []string) error
}

// restore brings chats back where that matters.
func restore(ctx context.Context, in instance, users []string) error {
	if r, ok := in.(restorer); ok {
		return r.restore(ctx, users)
	}
	return nil
}

// A teller can say how many messages it holds for a user.
type teller interface {
	messages(ctx context.Context, user string) (int, error)
}

// A racer can make the turn of the race: add one to the value "counter", and
// set a key of its own.
type racer interface {
	add(ctx context.Context, user, key string) error
	left(ctx context.Context, user string) (counter, keys int, err error)
}

const counterKey = "counter"

// racePrefix begins the keys that the race sets.
const racePrefix = "race-"

// The names by which the goals refer to contenders.
const (
	nameOurs   = "botsession"
	nameEager  = "botsession, eager"
	nameCapped = "blob, last 20"
	nameTRPC   = "trpc-agent-go"
	nameADK    = "adk-utils-go"
	nameFloor  = "floor"
)

// contenders lists them all, in the order of the table.
func contenders() []contender {
	return []contender{
		{nameOurs, "fenced, once, in order; Accept, handler, commit, Receipt.Wait; no Send", openOurs(settings{}), 100, true},
		{nameEager, "the same with ServeOptions.Eager", openOurs(settings{eager: true}), 100, true},
		{"botsession + last 20", "the same, and the handler reads the last 20 messages", openOurs(settings{last: 20}), 100, true},
		{nameCapped, "GET, decode, change, encode, SET of one msgpack blob that keeps 20 messages; no guard", openBlob(20), 1, false},
		{"blob, whole", "the same with the whole chat; no guard", openBlob(0), 110, false},
		{nameTRPC, "GetSession, AppendEvent twice; the state's keys are merged by a script, no guard", openTRPC(0), 800, false},
		{nameTRPC + ", last 20", "the same with WithEventNum(20)", openTRPC(20), 800, false},
		{nameADK, "Get, AppendEvent twice; no guard", openADK, 800, false},
		{"scs", "Load, Put, Commit of one gob blob; no guard", openSCS, 110, false},
		{"gorilla + redisstore", "Get, Save of one gob blob; no guard", openGorilla, 110, false},
		{nameFloor, "the commands that our turn writes and loads with, in two pipelines; no guard, no script", openFloor(work{}), 100, true},
	}
}
