package main

import (
	"fmt"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
)

// A why is why something in a session waits.
type why struct {
	Kind   string `json:"why"`              // Kind is in hand, failed, put off and so on.
	Text   string `json:"text"`             // Text says it to people.
	Error  string `json:"error,omitempty"`  // Error is that of the last failure.
	Holder string `json:"holder,omitempty"` // Holder is the replica that has it in hand.
}

// group is under which such reasons are counted together.
func (w why) group() string {
	switch {
	case w.Holder != "":
		return w.Kind + " at " + text.Clean(w.Holder)
	case w.Error != "":
		return w.Kind + ": " + text.Clean(w.Error)
	}
	return w.Kind
}

// whyOf says why the first in a session waits. The first reason that holds is the one.
func (f *fleet) whyOf(s session.Status) why {
	for _, reason := range []func(session.Status) (why, bool){f.inHand, f.ranOut, f.replyBack, f.eventBack, f.unserved} {
		if w, holds := reason(s); holds {
			return w
		}
	}
	return why{Kind: "due", Text: "due: a replica takes it at its next look"}
}

// inHand is that a replica works on it.
func (f *fleet) inHand(s session.Status) (why, bool) {
	l := s.Lease
	if !l.Held(s.Now) {
		return why{}, false
	}
	kind, head := "in hand", s.Event
	switch l.Work {
	case session.WorkReply:
		kind, head = "replies being sent", s.Reply
	case session.WorkUpdate:
		kind, head = "an Update runs", session.Retry{}
	}
	line := fmt.Sprintf("%s for %s at %s", kind, text.Duration(s.Now.Sub(l.Since)), text.Clean(l.Holder))
	if tried := f.tried(head); tried != "" {
		line += ", " + tried
	}
	return why{Kind: kind, Text: line, Holder: l.Holder}, true
}

// ranOut is that whoever had it was not heard of again.
func (f *fleet) ranOut(s session.Status) (why, bool) {
	if s.Lease.Work == session.WorkNone {
		return why{}, false
	}
	return why{Kind: "lease ran out", Holder: s.Lease.Holder,
		Text: fmt.Sprintf("the lease of %s ran out %s ago", text.Clean(s.Lease.Holder), text.Duration(s.Now.Sub(s.Lease.Until)))}, true
}

// replyBack is that a reply was not sent; events wait behind it.
func (f *fleet) replyBack(s session.Status) (why, bool) {
	if s.Unsent == 0 {
		return why{}, false
	}
	return f.back("reply ", s.Reply, s)
}

// eventBack is that an event failed, or was put off.
func (f *fleet) eventBack(s session.Status) (why, bool) { return f.back("", s.Event, s) }

func (f *fleet) back(what string, r session.Retry, s session.Status) (why, bool) {
	if !r.At.After(s.Now) {
		return why{}, false
	}
	w := why{Kind: what + "put off", Error: r.Error}
	w.Text = w.Kind
	if tried := f.tried(r); tried != "" {
		w.Kind, w.Text = what+"failed", what+tried
	}
	w.Text += ", again in " + text.Duration(r.At.Sub(s.Now))
	if r.Error != "" {
		w.Text += ": " + text.Clean(r.Error)
	}
	return w, true
}

// unserved is that nobody takes it.
func (f *fleet) unserved(session.Status) (why, bool) {
	there := f.serving()
	if len(there) == 0 {
		return why{Kind: "nobody serves", Text: fmt.Sprintf("nobody serves %s", f.bot.Name())}, true
	}
	all, used, _ := f.slots()
	if used >= all {
		return why{Kind: "no room", Text: fmt.Sprintf("no room: all %s are taken", text.Count(all, "slot", "slots"))}, true
	}
	return why{}, false
}

// tried says how often it came back, and how often it may; "" if never.
func (f *fleet) tried(r session.Retry) string {
	most := f.settings.Options.MaxAttempts
	switch {
	case r.Failures > 0:
		return fmt.Sprintf("failed %d of %d", r.Failures, most)
	case r.Crashes > 0:
		return text.Count(r.Crashes, "crash", "crashes")
	case r.HandedBack > 0:
		return text.Count(r.HandedBack, "hand-back", "hand-backs")
	}
	return ""
}
