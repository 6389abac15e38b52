package store

import (
	"context"
	"slices"

	"github.com/botsession/botsession/session"
)

// What a turn reads of the chat, and adds to it.

// Reply adds a text of the bot to the chat. It is sent after the commit,
// unless the bot has [BotOptions.RecordOnly].
func (t *Turn) Reply(text string) { t.ReplyWith(session.Message{Content: text}) }

// ReplyWith is Reply with a message of any type; m.From is ignored.
func (t *Turn) ReplyWith(m session.Message) {
	m.From = session.FromBot
	t.say("reply", m, true)
}

// Record adds a message to the chat without sending it. Its author is the bot
// if m.From is empty.
func (t *Turn) Record(m session.Message) {
	t.say("record", m, false)
}

func (t *Turn) say(verb string, m session.Message, send bool) {
	e, err := t.bot.entry(m, send)
	if !t.verb(verb, err) {
		return
	}
	defer t.mu.Unlock()
	t.chat = append(t.chat, e)
}

// History returns the part of the chat that query selects, as this turn sees
// it: what was stored when the turn began, then its own message and replies.
// What others add meanwhile is seen by the next turn, and comes before this
// turn's messages then, whose numbers grow. Messages of the turn have no time
// yet, so [session.Query.Until] leaves them out; events that wait are never in
// it. It takes one round trip to the server.
func (t *Turn) History(ctx context.Context, query session.Query) (chat []session.Message, err error) {
	q := partOf(query)
	t.mu.Lock()
	said, dropped := slices.Clone(t.chat), t.change.Reset == session.DropChat
	t.mu.Unlock()
	var own []session.Message
	last := t.rec.Seq()
	for i, e := range said {
		e.message.Seq = last + 1 + int64(i)
		m, err := e.read()
		if err != nil {
			return nil, err
		}
		if m.Seq > q.after {
			own = append(own, m)
		}
	}
	if !q.until.IsZero() {
		own = nil // they have no time yet: see above
	}
	before := q
	before.waiting = false
	if q.limit > 0 && q.newest {
		before.limit = q.limit - len(own)
	}
	if !dropped && q.after < last && (before.limit > 0 || q.limit <= 0) {
		if chat, err = t.before(ctx, before, last); err != nil {
			return chat, err
		}
	}
	return cut(append(chat, own...), q), nil
}

// before reads the chat up to the message last. Live calls may have appended
// others behind it since: of the newest it so asks for some more.
func (t *Turn) before(ctx context.Context, q chatPart, last int64) ([]session.Message, error) {
	behind := func(m session.Message) bool { return m.Seq > last }
	for more := 0; ; more = more*2 + 10 {
		wider := q
		if q.newest && q.limit > 0 {
			wider.limit += more
		}
		chat, err := t.bot.Session(t.ref.ID).history(ctx, wider)
		newer := len(chat)
		chat = slices.DeleteFunc(chat, behind)
		newer -= len(chat)
		if err != nil || newer <= more || q.limit <= 0 || !q.newest {
			return cut(chat, q), err
		}
	}
}

// cut applies a query's limit.
func cut(chat []session.Message, q chatPart) []session.Message {
	switch {
	case q.limit <= 0 || len(chat) <= q.limit:
		return chat
	case q.newest:
		return chat[len(chat)-q.limit:]
	}
	return chat[:q.limit]
}
