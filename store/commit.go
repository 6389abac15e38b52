package store

import (
	"slices"
	"strconv"
	"time"

	"github.com/botsession/botsession/lua"
	"github.com/botsession/botsession/store/internal/ids"
	"github.com/botsession/botsession/store/internal/stored"
)

// mostPlain is how many messages, replies and fields a turn may write that commit ends.
const mostPlain = 100

// A plain is a turn's end by lua/commit.lua: on a session that is as the holder knows
// it, with everything computed here.
type plain struct {
	request
	at    int64          // at is the server's time for which it was computed, ms.
	after *stored.Record // after is what the record is then.
}

// plain returns how commit ends a turn; ok is false for a turn that does more than is
// usual, on which settle decides. free is the record of the session before its event
// was accepted, if the turn was run eagerly; else empty.
func (r *runner) plain(h *hold, w written, free string) (p plain, ok bool) {
	b, rec := r.bot, h.known
	if rec == nil || h.event == nil || w.change.Reset != "" || w.destroy || w.change.TTL != nil || w.file != nil || w.own.file != nil ||
		len(w.change.Moves) > 1 || len(w.chat) == 0 || len(w.chat)+(len(w.set)+len(w.own.fields))/2 > mostPlain ||
		h.fails+h.crashes+h.backs > 0 || slices.ContainsFunc(w.del, rec.Has) {
		return p, false
	}
	p.at = max(b.store.caller.Clock.At(h.at.bucket, time.Now()), rec.Active())
	end := stored.Ended{
		At: p.at, Changed: w.dirty, Messages: len(w.chat), Lease: b.store.opts.Lease.Milliseconds(), TTL: number(h.opts.TTL),
		Set: append(append(make([]string, 0, len(w.own.fields)+len(w.set)+2), w.own.fields...), w.set...),
	}
	state, pair := rec.State(), ""
	if len(w.change.Moves) > 0 {
		pair = state + "\x00" + w.change.Moves[0]
		if to := w.change.Moves[0]; to != state {
			state = to
			end.Set = append(end.Set, stored.FieldState, to)
		}
	}
	first := rec.Seq() + 1
	var replies []string
	to := stored.Extras{Trace: w.trace}.With([]byte(w.event))
	messages := make([]string, 0, len(w.chat))
	for i, e := range w.chat {
		entry := stored.EntryAt(p.at, e.encoded)
		messages = append(messages, entry)
		if e.send && !h.opts.RecordOnly {
			name := ids.Reply{Life: strconv.FormatInt(rec.Life(), 10), Number: first + int64(i)}
			replies = append(replies, stored.UnsentElement(name, to, entry))
			end.ReplyBytes += len(replies[len(replies)-1])
		}
	}
	end.Replies = len(replies)
	forget := (h.accepted + h.window + 999) / 1000 * 1000
	if !rec.InHand(end, forget) || p.at+1000 >= rec.Until() || forget < p.at+b.store.opts.Timeout.Milliseconds()+2000 {
		return p, false
	}
	p.after = rec.After(end)
	score, till := "", ""
	if p.after.Place() != rec.Place() {
		score = strconv.FormatInt(p.after.Place(), 10)
	}
	if end.Replies > 0 {
		till = strconv.FormatInt(p.after.Until(), 10)
	}
	line := stored.Line{Status: stored.LineHandled, Forget: forget / 1000, Token: h.token, First: first, Call: rec.Holder().End(), Count: int64(len(w.chat))}.Encode()
	is, eager, hand := rec.Text(), "", []string{stored.FieldHand, ""}
	if free != "" {
		is, eager, hand = free, "1", nil
	}
	p.request = ask(lua.Commit, []string{
		"id", h.at.ref.ID, "bell", bellHanded + h.at.ref.String(), "rec", is, "eager", eager, "at", strconv.FormatInt(p.at, 10), "till", till,
		"digest", string(h.event.digest), "line", line, "score", score,
		"pair", pair, "limit", strconv.Itoa(h.opts.HistoryLimit), "net", strconv.FormatInt(rec.Dropped(), 10),
		"state", state, "version", strconv.FormatInt(p.after.Version(), 10), "replies", strconv.Itoa(len(replies)), "chat", strconv.Itoa(len(messages)),
	}, replies, messages, end.Set, []string{stored.FieldRecord, p.after.Text()}, hand)
	return p, true
}
