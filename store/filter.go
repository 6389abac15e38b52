package store

import (
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
	"github.com/botsession/botsession/store/internal/stored"
)

// A Filter selects sessions of a bot: those that fit all of its fields. The zero
// Filter selects all of them.
//
// [Bot.Sessions] goes through one list, whose order it has. That is the first in this
// table of which the filter asks for something:
//
//	Dead           those with dead letters, by the time of the last one, the oldest first
//	Held, HeldBy   those in hand or put off, by when a replica looks at them next
//	Waiting        those that Bot.Waiting lists, the longest wait first
//	User           those of the user, in the order of their ids
//	IdleSince      all, by the minute of their last activity, idle for longest first
//	none of these  all, by the minute of their last activity, the latest first
//
// The last two begin and end by State, IdleSince and ActiveSince, so that the loop reads
// little more than it hands out. Everything else that a filter asks for beyond its list
// is looked up in each session of the list: the loop reads on, in pages of limited size,
// until it finds one that fits. So Held costs as much as is in hand or put off.
type Filter struct {
	State       string    // State selects the sessions in this state. Empty means any.
	User        string    // User selects the sessions of this user. Empty means any.
	IdleSince   time.Time // IdleSince selects the sessions that were last active before, by the server's clock. Zero means any.
	ActiveSince time.Time // ActiveSince selects the sessions that were active then or later, by the server's clock. Zero means any.
	Waiting     bool      // Waiting selects the sessions that Bot.Waiting lists.
	Dead        bool      // Dead selects the sessions that have dead letters.
	Held        bool      // Held selects the sessions that a replica holds: those whose Lease is Held.
	HeldBy      string    // HeldBy selects the sessions that the replica of this name holds. Empty means any, held or not.
	after       string
}

// After returns the filter that continues a list after the session with that
// cursor: the [session.Status.Cursor] of an item that [Bot.Sessions] yielded
// for the same filter, in any process. Only its moments may be others. An empty
// cursor means from the beginning.
func (f Filter) After(cursor string) Filter {
	f.after = cursor
	return f
}

// order is that of the list that Sessions goes through.
func (f Filter) order() order {
	switch {
	case f.Dead:
		return letters
	case f.Held || f.HeldBy != "":
		return inHand
	case f.Waiting:
		return byWait
	case f.User != "":
		return byID
	case !f.IdleSince.IsZero():
		return idlest
	}
	return newest
}

// selects reports whether a session fits, but for its dead letters: only the list of
// those with letters says that.
func (f Filter) selects(st *session.Status) bool {
	return (f.State == "" || st.State == f.State) &&
		(f.User == "" || st.User == f.User) &&
		(f.IdleSince.IsZero() || st.Active.Before(f.IdleSince)) &&
		(f.ActiveSince.IsZero() || !st.Active.Before(f.ActiveSince)) &&
		(!f.Waiting || !st.Since.IsZero() && st.Waiting+st.Unsent > 0) &&
		(!f.Held && f.HeldBy == "" || st.Lease.Held(st.Now)) &&
		(f.HeldBy == "" || st.Lease.Holder == f.HeldBy)
}

// filtered returns the walk that comes to all sessions that f selects. It costs one
// command to each bucket at least, because any bucket may have one of them: the client
// sends these as one pipeline to each server.
func (b *Bot) filtered(f Filter) (*walk, error) {
	if err := b.store.usable(); err != nil {
		return nil, err
	}
	order, since, last, err := f.position(b.name)
	if err != nil {
		return nil, err
	}
	w := b.walk(order)
	w.user, w.since = f.User, since
	if order.list() == "index" {
		if f.State != "" {
			w.states(stored.Places(f.State))
		}
		if !f.ActiveSince.IsZero() {
			w.least = float64(stored.Minute(f.ActiveSince.UnixMilli()))
		}
		if !f.IdleSince.IsZero() {
			w.most = float64(stored.Minute(f.IdleSince.UnixMilli()))
		}
	}
	return w.begin(last), nil
}

// cursor returns from where a walk goes on behind an entry: its order, a sum of the bot
// and the filter, when the walk began, and the entry.
func (w *walk) cursor(f Filter, at step) string {
	text := fmt.Sprintf("%s %d %d %s %s", w.order, f.sum(w.bot.name), w.since, score(at.score), at.ref.ID)
	return base64.RawURLEncoding.EncodeToString([]byte(text))
}

// position reads what cursor wrote.
func (f Filter) position(bot string) (order order, since int64, last *call.Member, err error) {
	order = f.order()
	if f.after == "" {
		return order, 0, nil, nil
	}
	refuse := func(why string) error { return fmt.Errorf("%w: the cursor is %s", session.ErrInvalid, why) }
	text, err := base64.RawURLEncoding.DecodeString(f.after)
	fields := strings.SplitN(string(text), " ", 5)
	if err != nil || len(fields) != 5 {
		return "", 0, nil, refuse("not one that a list returned")
	}
	if order == newest && fields[0] == string(rest) {
		order = rest
	}
	if fields[0] != string(order) || fields[1] != strconv.FormatUint(uint64(f.sum(bot)), 10) {
		return "", 0, nil, refuse("of another bot or filter")
	}
	since, err = strconv.ParseInt(fields[2], 10, 64)
	at, err2 := strconv.ParseInt(fields[3], 10, 64)
	if err != nil || err2 != nil || since < 0 || at < 0 || at > stored.LastPlace || (session.Ref{Bot: bot, ID: fields[4]}).Validate() != nil {
		return "", 0, nil, refuse("damaged")
	}
	return order, since, &call.Member{Name: fields[4], Score: float64(at)}, nil
}

// sum tells filters apart. Of a moment it has only whether there is one: a list of
// those that were idle for a day goes on though it is later by now.
func (f Filter) sum(bot string) uint32 {
	h := fnv.New32a()
	fmt.Fprintf(h, "%q %q %q %q %t %t %t %t %t", bot, f.State, f.User, f.HeldBy, f.IdleSince.IsZero(), f.ActiveSince.IsZero(), f.Waiting, f.Dead, f.Held)
	return h.Sum32()
}
