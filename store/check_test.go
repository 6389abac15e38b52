package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/ids"
	"github.com/botsession/botsession/store/internal/redistest"
	"github.com/botsession/botsession/store/internal/stored"
)

// A stock is a small namespace that has something of everything, and is whole.
type stock struct {
	*testing.T
	c   redis.UniversalClient
	st  *Store
	bot *Bot
}

const oddID = "a/\x00:{b}"

func stocked(t *testing.T, url, namespace string) *stock {
	t.Helper()
	ctx := t.Context()
	s := &stock{T: t, c: client(t, url), st: opened(t, url, &Options{Namespace: namespace, Buckets: 4})}
	s.bot = botOf(t, s.st, "bot", &BotOptions{MaxAttempts: 1})
	serve := &ServeOptions{Send: func(_ context.Context, d Delivery) error {
		if d.Ref.ID == "ended" {
			return RetryAfter(time.Hour, errors.New("not now"))
		}
		return nil
	}}
	accept := func(id, event string) {
		t.Helper()
		_, err := s.bot.Accept(ctx, id, session.Event{ID: event, Text: "hi", User: "ann"})
		noError(t, err)
	}
	for _, id := range []string{"full", "dead", "gone", "ended"} {
		accept(id, id)
	}
	_, err := s.bot.Drain(ctx, func(_ context.Context, turn *Turn) error {
		switch turn.Ref().ID {
		case "dead", "gone":
			return errors.New("as it was told")
		case "ended":
			turn.Destroy()
		}
		turn.Move("talking")
		turn.Set("k", "v")
		turn.SetIntent(&session.Intent{Name: "greet"})
		turn.Reply("hello")
		return nil
	}, serve)
	noError(t, err)
	accept("waits", "first")
	accept("waits", "second")
	noError(t, s.bot.Session("full").SetFile(ctx, session.File{Name: "f", Data: []byte("bytes")}))
	_, err = s.bot.Session("gone").Destroy(ctx)
	noError(t, err)
	for id, origin := range map[string]Origin{"forever": {TTL: -1}, "unsent": {User: "ann"}, oddID: {User: "b\u00e9"}} {
		_, err = s.bot.Session(id).Create(ctx, origin)
		noError(t, err)
	}
	noError(t, s.bot.Session("unsent").Reply(ctx, "hello"))
	noError(t, s.c.Set(ctx, s.key("watch/full"), "a channel", time.Minute).Err())
	noError(t, s.c.Set(ctx, s.key("mark/full"), "", 0).Err())
	noError(t, s.bot.Session("full").Touch(As(ctx, "ann", "for the test")))
	_, err = s.st.run(ctx, s.st.noBucket(), ask(lua.Beat, []string{"name", s.st.name, "keep", "20000", "about", "{}"}))
	noError(t, err)
	return s
}

// key returns the key that "name/id" stands for: a session's, or one of its bucket's,
// or, with a ~ before it, as it would be in the next bucket. Behind a colon stands a
// whole key.
func (s *stock) key(text string) string {
	if rest, whole := strings.CutPrefix(text, ":"); whole {
		return s.st.opts.Namespace + ":" + rest
	}
	name, other := strings.CutPrefix(text, "~")
	name, id, _ := strings.Cut(name, "/")
	at := s.st.layout.place(session.Ref{Bot: "bot", ID: id})
	if other {
		at.bucket = (at.bucket + 1) % len(s.st.layout.tags)
	}
	return s.st.layout.key(name, at)
}

// A ruin is done to a stock that is whole, which then has exactly these flaws.
type ruin struct {
	what  string
	do    func(s *stock)
	flaws []flaw
}

// A flaw is one Finding as a test expects it.
type flaw struct {
	id   string // id is the session's; empty for the bot's; "other/" for another bot's, "-" for the store's
	key  string // key is as stock.key reads it
	text string // text is a part of the Finding's
}

// cmd is one command, with a key as stock.key reads it.
func cmd(words ...any) func(s *stock) {
	return func(s *stock) {
		words := slices.Clone(words)
		words[1] = s.key(words[1].(string))
		noError(s.T, s.c.Do(s.Context(), words...).Err())
	}
}

// rung lists a session at once, with the bell of that list, and no longer in others.
func rung(list, id, bells, bell string, notIn ...string) func(s *stock) {
	return func(s *stock) {
		cmd("ZADD", list, 1, id)(s)
		cmd("ZADD", bells, 1, bell)(s)
		for _, other := range notIn {
			cmd("ZREM", other, strings.TrimPrefix(id, "hbot/"))(s)
		}
	}
}

// edit replaces a word of a packed field of the session full.
func edit(field string, word int, by string) func(s *stock) {
	return func(s *stock) {
		words := strings.Fields(s.c.HGet(s.Context(), s.key("session/full"), field).Val())
		words[word] = by
		noError(s.T, s.c.HSet(s.Context(), s.key("session/full"), field, strings.Join(words, " ")).Err())
	}
}

// pushed appends the first element of a list to another, cut by some bytes.
func pushed(from, to string, cut int) func(s *stock) {
	return func(s *stock) {
		element := s.c.LIndex(s.Context(), s.key(from), 0).Val()
		noError(s.T, s.c.RPush(s.Context(), s.key(to), element[:len(element)-cut]).Err())
	}
}

// miscounted is the flaw of a bucket that counts another number of sessions than it
// lists.
func miscounted(key string) flaw { return flaw{"", key, "counted, and the index lists"} }

const (
	hour     = 3_600_000
	year2100 = 4_102_444_800_000
)

var ruins = []ruin{
	// keys
	{"an unknown key", cmd("SET", ":other", ""), []flaw{{"-", ":other", "this version has no such key"}}},
	{"a key of an unknown kind", cmd("SET", ":{4.0.0}:z:bot/1", ""), []flaw{{"-", ":{4.0.0}:z:bot/1", "this version has no such key"}}},
	{"a key of another number of buckets", cmd("HSET", ":{8.0.0}:b", "bot", 1), []flaw{{"-", ":{8.0.0}:b", "this version has no such key"}}},
	{"a list in the wrong bucket", pushed("history/full", "~history/full", 0), []flaw{{"full", "~history/full", "and belongs in bucket 2"}}},
	{"an inbox that Redis would drop", cmd("PEXPIRE", "inbox/waits", hour), []flaw{{"waits", "inbox/waits", "the key inbox has an expiry"}}},
	{"an index that Redis would drop", cmd("PEXPIRE", "due/waits", hour), []flaw{{"", "due/waits", "the key due has an expiry"}}},
	{"dead letters for ever", cmd("PERSIST", "letters/gone"), []flaw{{"gone", "letters/gone", "the key letters has no expiry"}}},
	{"a watch for ever", cmd("PERSIST", "watch/full"), []flaw{{"", "watch/full", "the key watch has no expiry"}}},
	{"replicas for ever", cmd("PERSIST", "replicas/"), []flaw{{"-", "replicas/", "the key replicas has no expiry"}}},

	// a session's hash
	{"no hash", cmd("DEL", "session/full"), []flaw{{"full", "session/full", "its hash is gone"}}},
	{"a history of no session", cmd("RPUSH", "history/x", "123456j[1,2]"), []flaw{{"x", "session/x", "its hash is gone"}}},
	{"a hash without a record", cmd("HDEL", "session/waits", "rec"), []flaw{{"waits", "session/waits", `the field "rec" of its hash cannot be read: it is missing`}}},
	{"a hash without a state", cmd("HDEL", "session/full", "state"), []flaw{{"full", "session/full", `the field "state" of its hash cannot be read: it is missing`}}},
	{"a hash with a name that none can have", cmd("HSET", "session/forever", "user", "a\x00b"), []flaw{
		{"forever", "session/forever", "a name that none can have"},
		{"forever", "users/forever", "users does not list it under its user"},
	}},
	{"a newer layout", edit("rec", 16, "9"), []flaw{{"full", "session/full", "its hash cannot be read: stored in a newer layout: layout 9, this version reads 2"}}},
	{"two damaged values", cmd("HSET", "session/full", "d:k", "m\xc1", "intent", "j{"), []flaw{
		{"full", "session/full", `the field "d:k" of its hash cannot be read: `},
		{"full", "session/full", `the field "intent" of its hash cannot be read: `},
	}},
	{"a hash with another expiry", cmd("PEXPIRE", "session/"+oddID, hour), []flaw{{oddID, "session/" + oddID, "the key session has another expiry than 20"}}},
	{"a history with another expiry", cmd("PEXPIRE", "history/full", hour), []flaw{{"full", "history/full", "the key history has another expiry than 20"}}},
	{"a file for ever", cmd("PERSIST", "file/full"), []flaw{{"full", "file/full", "the key file has no expiry, and the session's record says 20"}}},
	{"a session for ever that Redis would drop", cmd("PEXPIRE", "session/forever", hour), []flaw{{"forever", "session/forever", "has an expiry, and the session's record says none"}}},

	// what a session has
	{"a message that cannot be read", cmd("LSET", "history/full", 1, "123456m\xc1"), []flaw{{"full", "history/full", "the element with the index 1 of the history cannot be read: a byte with which no msgpack value begins"}}},
	{"a message too many", pushed("history/full", "history/full", 0), []flaw{{"full", "history/full", "the history has 3 messages, and the session's record counts 2"}}},
	{"an event that cannot be read", cmd("RPUSH", "inbox/waits", "short"), []flaw{{"waits", "inbox/waits", "the element with the index 2 of the inbox cannot be read: an inbox element of 5 bytes"}}},
	{"an event again, and cut", pushed("inbox/waits", "inbox/waits", 1), []flaw{{"waits", "inbox/waits", "the element with the index 2 of the inbox cannot be read: "}}},
	{"no inbox", cmd("DEL", "inbox/waits"), []flaw{
		{"waits", "events/waits", "the event " + hex("first") + " is noted as one that waits, and is not in the inbox"},
		{"waits", "events/waits", "the event " + hex("second") + " is noted as one that waits, and is not in the inbox"},
		{"waits", "session/waits", "bytes in the inbox, and there are 0"},
		{"waits", "due/waits", "the key due lists it, and it has no work"},
	}},
	{"an inbox of no session", pushed("inbox/waits", "inbox/x", 0), []flaw{{"x", "due/x", "the key due does not list it, and it has work: events that wait"}}},
	{"no line of an event", cmd("HDEL", "events/waits", digest("second")), []flaw{{"waits", "events/waits", "the event " + hex("second") + " waits, and is not noted"}}},
	{"a line of an event that waits says that it is done", cmd("HSET", "events/waits", digest("first"), stored.Line{Status: stored.LineHandled, Forget: 1}.Encode()), []flaw{{"waits", "events/waits", "the event " + hex("first") + " waits, and is noted as one that is done"}}},
	{"a void line of an event that waits", cmd("HSET", "events/waits", digest("first"), stored.Line{Status: stored.LineVoid}.Encode()), []flaw{{"waits", "events/waits", "the event " + hex("first") + " waits, and is not noted"}}},
	{"a void line of another event", cmd("HSET", "events/waits", digest("other"), stored.Line{Status: stored.LineVoid}.Encode()), nil},
	{"a line of an event that cannot be read", cmd("HSET", "events/full", digest("full"), "d 1 2"), []flaw{{"full", "events/full", "the line of the event " + hex("full") + " cannot be read"}}},
	{"a line of no event", cmd("HSET", "events/full", "\x01", stored.Line{Status: stored.LineDropped}.Encode()), []flaw{{"full", "events/full", "the line of the event 01 cannot be read"}}},
	{"a line of a call that cannot be read", cmd("HSET", "calls/full", "op", "x"), []flaw{{"full", "calls/full", `the line of the call "op" cannot be read`}}},
	{"a reply that cannot be read", cmd("RPUSH", "outbox/unsent", "1:2:x"), []flaw{{"unsent", "outbox/unsent", "the element with the index 1 of the outbox cannot be read: a reply without"}}},
	{"a count of bytes that is too large", edit("rec", 8, "5"), []flaw{{"full", "session/full", "its hash counts 5 bytes in the outbox, and there are 0"}}},
	{"a dead letter that cannot be read", cmd("RPUSH", "letters/gone", "123456e9"), []flaw{{"gone", "letters/gone", "the element with the index 1 of the letters cannot be read: a dead letter that"}}},
	{"a file without bytes", cmd("DEL", "file/full"), []flaw{{"full", "file/full", "the file's name is there, and its bytes are not"}}},
	{"a file without a name", cmd("HDEL", "session/full", "file"), []flaw{{"full", "file/full", "the file's bytes are there, and its name is not"}}},

	// the index
	{"not in index", cmd("ZREM", "index/full", "full"), []flaw{{"full", "index/full", "the key index does not list it"}, miscounted("bots/full")}},
	{"in index at another time", cmd("ZADD", "index/full", stored.Place("talking", 1.7e12), "full"), []flaw{{"full", "index/full", "lists it at 2023-11-14T22:13:00Z, and it was last active at 20"}}},
	{"in index in another state", cmd("ZADD", "index/full", stored.Place("elsewhere", 1.7e12), "full"), []flaw{{"full", "index/full", "the key index lists it in another state than its own"}}},
	{"in index at no place", cmd("ZADD", "index/full", -1, "full"), []flaw{{"full", "index/full", "the key index lists it in another state than its own"}}},
	{"in index, and gone", cmd("ZADD", "index/x", 1, "x"), []flaw{{"x", "session/x", "its hash is gone"}, miscounted("bots/x")}},
	{"in index, and ended", cmd("ZADD", "index/ended", 1, "ended"), []flaw{{"ended", "index/ended", "the key index lists it, and its own turn has ended it"}, miscounted("bots/ended")}},
	{"in index, with an id that none can have", cmd("ZADD", "index/full", 1, strings.Repeat("x", 513)), []flaw{{"", "index/full", `xxx", and no session can have this id`}, miscounted("bots/full")}},
	{"in index of the wrong bucket", cmd("ZADD", "~index/full", 1, "full"), []flaw{{"full", "~index/full", "lists it, and it belongs in bucket 2"}, miscounted("~bots/full")}},
	{"not in expiry", cmd("ZREM", "expiry/full", "full"), []flaw{{"full", "expiry/full", "the key expiry does not list it, and it expires"}}},
	{"in expiry too late", cmd("ZADD", "expiry/full", year2100, "full"), []flaw{{"full", "expiry/full", "the key expiry lists it at 2100-01-01T00:00:00Z, and it expires at 20"}}},
	{"in expiry, and for ever", rung("expiry/forever", "forever", "bells/forever", "xbot"), []flaw{{"forever", "expiry/forever", "the key expiry lists it, and it never expires"}}},
	{"in expiry, and gone", rung("expiry/x", "x", "bells/x", "xbot"), []flaw{{"x", "session/x", "its hash is gone"}}},
	{"in expiry of the wrong bucket", rung("~expiry/full", "full", "~bells/full", "xbot"), []flaw{{"full", "~expiry/full", "lists it, and it belongs in bucket 2"}}},
	{"not in users", cmd("ZREM", "users/full", "ann\x00full"), []flaw{{"full", "users/full", "the key users does not list it under its user"}}},
	{"in users by another user", cmd("ZADD", "users/"+oddID, 0, "bob\x00"+oddID), []flaw{{oddID, "users/" + oddID, "lists it under another user than its own"}}},
	{"in users by no user", cmd("ZADD", "users/forever", 0, "\x00forever"), []flaw{{"", "users/forever", "which is of no user"}}},
	{"in users, and gone", cmd("ZADD", "users/x", 0, "ann\x00x"), []flaw{{"x", "session/x", "its hash is gone"}}},
	{"in users, and ended", cmd("ZADD", "users/ended", 0, "ann\x00ended"), []flaw{{"ended", "users/ended", "the key users lists it, and its own turn has ended it"}}},
	{"in users with a score", cmd("ZADD", "users/full", 7, "ann\x00full"), []flaw{{"full", "users/full", "with a score other than 0"}}},
	{"in users of the wrong bucket", cmd("ZADD", "~users/full", 0, "ann\x00full"), []flaw{{"full", "~users/full", "lists it, and it belongs in bucket 2"}}},
	{"in users, and no name", cmd("ZADD", "users/full", 0, "full"), []flaw{{"", "users/full", `has the entry "full", which is of no user`}}},
	{"not in due", cmd("ZREM", "due/unsent", "unsent"), []flaw{{"unsent", "due/unsent", "the key due does not list it, and it has work: unsent replies"}}},
	{"in due, and at rest", rung("due/forever", "forever", "bells/forever", "dbot"), []flaw{{"forever", "due/forever", "the key due lists it, and it has no work"}}},
	{"in due, and gone", rung("due/x", "x", "bells/x", "dbot"), []flaw{{"x", "due/x", "the key due lists it, and it has no work"}}},
	{"in due too late", cmd("ZADD", "due/waits", year2100, "waits"), []flaw{{"waits", "due/waits", "lists it at 2100-01-01T00:00:00Z, later than its work can be done"}}},
	{"in due of the wrong bucket", rung("~due/waits", "waits", "~bells/waits", "dbot"), []flaw{{"waits", "~due/waits", "lists it, and it belongs in bucket"}}},
	{"due without its bell", cmd("ZREM", "bells/waits", "dbot"), []flaw{{"", "bells/waits", "no bell rings for the key due of the bot"}}},
	{"due with a bell that rings too late", cmd("ZADD", "bells/waits", year2100, "dbot"), []flaw{{"", "bells/waits", "the bell for the key due of the bot rings at 2100-01-01T00:00:00Z, later"}}},
	{"expiry without its bell", cmd("ZREM", "bells/full", "xbot"), []flaw{{"", "bells/full", "no bell rings for the key expiry of the bot"}}},
	{"a bell of no kind", cmd("ZADD", "bells/full", 1, "ybot"), []flaw{{"-", "bells/full", `the bells have the entry "ybot", which is of no kind`}}},
	{"a bell of no bot", cmd("ZADD", "bells/full", 1, "d"), []flaw{{"-", "bells/full", `the bells have the entry "d", which is of no kind`}}},
	{"handed out by the bells alone", rung("bells/waits", "hbot/waits", "bells/waits", "dbot", "due/waits"), nil},
	{"handed out, and at rest", cmd("ZADD", "bells/forever", 1, "hbot/forever"), []flaw{{"forever", "bells/forever", "the bells list it as handed out, and it has no work"}}},
	{"handed out, and gone", cmd("ZADD", "bells/x", 1, "hbot/x"), []flaw{{"x", "bells/x", "the bells list it as handed out, and it has no work"}}},
	{"handed out in the wrong bucket", cmd("ZADD", "~bells/waits", 1, "hbot/waits"), []flaw{{"waits", "~bells/waits", "the key bells of bucket"}}},
	{"not in waits", cmd("ZREM", "waits/waits", "waits"), []flaw{{"waits", "waits/waits", "the key waits does not list it, and the session's record says that it does"}}},
	{"in waits since another moment", cmd("ZADD", "waits/waits", 1e12, "waits"), []flaw{{"waits", "waits/waits", "lists it since 2001-09-09T01:46:40Z, and the session's record says since 20"}}},
	{"in waits, and at rest", cmd("ZADD", "waits/forever", 1, "forever"), []flaw{{"forever", "waits/forever", "lists it, and the session's record says that it does not"}}},
	{"in waits, and gone", cmd("ZADD", "waits/x", 1, "x"), []flaw{{"x", "waits/x", "the key waits lists it, and nothing waits"}}},
	{"in waits of the wrong bucket", cmd("ZADD", "~waits/waits", 1, "waits"), []flaw{{"waits", "~waits/waits", "lists it, and it belongs in bucket"}}},
	{"not in dead", cmd("ZREM", "dead/gone", "gone"), []flaw{{"gone", "dead/gone", "the key dead does not list it, and it has dead letters"}}},
	{"in dead without letters", cmd("DEL", "letters/gone"), []flaw{{"gone", "dead/gone", "the key dead lists it, and it has no dead letters"}}},
	{"in dead at another time", cmd("ZADD", "dead/dead", 1e12, "dead"), []flaw{{"dead", "dead/dead", "lists it at 2001-09-09T01:46:40Z, and its last dead letter is of 20"}}},
	{"in dead of the wrong bucket", cmd("ZADD", "~dead/dead", 1, "dead"), []flaw{{"dead", "~dead/dead", "lists it, and it belongs in bucket"}}},

	// what is of no session
	{"a count too large", cmd("HINCRBY", "bots/full", "bot", 5), []flaw{{"", "bots/full", "sessions are counted, and the index lists"}}},
	{"no count", cmd("DEL", "bots/full"), []flaw{{"", "bots/full", "no sessions are counted, and the index lists"}}},
	{"a count that is none", cmd("HSET", "bots/full", "bot", "many"), []flaw{{"", "bots/full", "the count of its sessions is no number"}}},
	{"a count of no bot", cmd("HSET", "bots/full", "no bot", "1"), []flaw{{"-", "bots/full", `sessions of "no bot" are counted, and no bot can have this name`}}},
	{"a count of a bot without sessions", cmd("HSET", "bots/full", "other", "3"), []flaw{{"other/", "bots/full", "3 sessions are counted, and the index lists 0"}}},
	{"a count of moves that is none", cmd("HSET", "moves/full", "a\x00b", "x"), []flaw{{"", "moves/full", `the count of the moves from "a" to "b" is no number from 1`}}},
	{"a count of no move", cmd("HSET", "moves/full", "a", "1"), []flaw{{"", "moves/full", `moves are counted under "a", which is no pair of states`}}},
	{"a replica that is believed for too long", cmd("HSET", "replicas/", "r", fmt.Sprintf("1 1 %d {}", int64(year2100))), []flaw{{"-", "replicas/", `the replica "r" is taken to be alive`}}},
	{"a replica without a name", cmd("HSET", "replicas/", "r r", "1 1 1 {}"), []flaw{{"-", "replicas/", `"r r", and none can have it`}}},
	{"a replica's line without its numbers", cmd("HSET", "replicas/", "r", "1 1 {}"), []flaw{{"-", "replicas/", `the line of the replica "r" cannot be read: it is not three numbers`}}},
	{"a replica's line without its object", cmd("HSET", "replicas/", "r", "1 1 1 {]}"), []flaw{{"-", "replicas/", `the line of the replica "r" cannot be read: its JSON`}}},
	{"settings that cannot be read", cmd("HSET", "settings/", "bot", `{"TTL":"x"}`), []flaw{{"", "settings/", `its settings cannot be read: TTL cannot be read`}}},
	{"settings of no bot", cmd("HSET", "settings/", "no bot", "{}"), []flaw{{"-", "settings/", `settings are stored for "no bot", and no bot can have this name`}}},
	{"no settings", cmd("DEL", "settings/"), []flaw{{"", "settings/", "the bot has no settings, and something of it is stored"}}},
	{"no meta", cmd("DEL", "meta/"), []flaw{{"-", "meta/", "the store's settings are gone, or some of them"}}},
	{"meta without an id", cmd("HDEL", "meta/", "id"), []flaw{{"-", "meta/", "the store's settings are gone, or some of them"}}},
	{"meta that cannot be read", cmd("HSET", "meta/", "buckets", "many"), []flaw{{"-", "meta/", "the store's settings cannot be read: it is no number from 1 to 4096"}}},
}

func digest(eventID string) string { return string(ids.DigestOf(eventID)) }

func hex(eventID string) string { return fmt.Sprintf("%x", digest(eventID)) }

// finds compares what Check finds with what it should.
func (s *stock) finds(flaws []flaw) {
	s.Helper()
	found, err := Gather(s.st.Check(s.Context()))
	noError(s.T, err)
	is := func(f Finding, w flaw) bool {
		ref := session.Ref{Bot: "bot", ID: w.id}
		if bot, other := strings.CutSuffix(w.id, "/"); other {
			ref = session.Ref{Bot: bot}
		} else if w.id == "-" {
			ref = session.Ref{}
		}
		return f.Ref == ref && f.Key == s.key(w.key) && strings.Contains(f.Text, w.text)
	}
	for _, w := range flaws {
		if !slices.ContainsFunc(found, func(f Finding) bool { return is(f, w) }) {
			s.Errorf("not found: %+v", w)
		}
	}
	for _, f := range found {
		if !slices.ContainsFunc(flaws, func(w flaw) bool { return is(f, w) }) || len(found) > len(flaws) {
			s.Errorf("found: %v", f)
		}
	}
}

func TestCheckFindsEachDamageAndNothingElse(t *testing.T) {
	t.Parallel()
	for server, url := range map[string]string{"single": redistest.Single(t), "cluster": redistest.Cluster(t, 3)} {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			noError(t, opened(t, url, &Options{Namespace: "empty", ReadOnly: true}).Whole(t.Context()))
			for i, r := range ruins {
				t.Run(r.what, func(t *testing.T) {
					s := stocked(t, url, fmt.Sprint("n", i))
					s.finds(nil)
					r.do(s)
					s.finds(r.flaws)
				})
			}
		})
	}
}

// Whatever is read of it elsewhere: nothing else is found.
func TestCheckFindsEachKeyOfAnotherType(t *testing.T) {
	t.Parallel()
	url := redistest.Single(t)
	whose := map[string]string{"inbox": "waits", "outbox": "unsent", "letters": "dead", "dead": "dead"}
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			s := stocked(t, url, "n-"+name)
			id := cmp.Or(whose[name], "full")
			w := flaw{"-", name + "/" + id, "the key " + name + " is a "}
			switch form.of {
			case ofSession:
				w.id = id
			case ofBot:
				w.id = ""
			}
			if n := s.c.Del(t.Context(), s.key(w.key)).Val(); n != 1 {
				t.Fatalf("there is no %q", s.key(w.key))
			}
			if form.typ == "string" {
				cmd("RPUSH", w.key, "x")(s)
				w.text += "list, not a string"
			} else {
				cmd("SET", w.key, "x")(s)
				w.text += "string, not a " + form.typ
			}
			s.finds([]flaw{w})
		})
	}
}
