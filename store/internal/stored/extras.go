package stored

import "github.com/botsession/botsession/store/internal/ids"

// Extras are what an element of the inbox or of the outbox may say besides its event or
// its reply. They are stored in front of that: a byte of flags, and what the flags
// announce, in this order.
type Extras struct {
	Root  string // Root is what the event was first accepted as, 16 bytes (flag 1); empty if that is the element's own digest.
	Trace string // Trace is the context of a trace, 25 bytes: the ids of the trace and of a span, and its flags (flag 2); empty if there is none.
	From  string // From is the tag (ids.TagOf) of the process that accepted the event, 3 bytes (flag 8); empty if that is not known.
	Told  bool   // Told is whether the event's own message is in the chat already (flag 4).
}

const (
	rootSize  = 16
	traceSize = 25

	flagRoot, flagTrace, flagTold, flagFrom = 1, 2, 4, 8
)

// With returns b with the extras in front of it.
func (e Extras) With(b []byte) string {
	flags := byte(0)
	if e.Root != "" {
		flags |= flagRoot
	}
	if e.Trace != "" {
		flags |= flagTrace
	}
	if e.Told {
		flags |= flagTold
	}
	if e.From != "" {
		flags |= flagFrom
	}
	return string(rune(flags)) + e.Root + e.Trace + e.From + string(b)
}

// readExtras reads what With wrote.
func readExtras(b []byte) (e Extras, rest []byte, err error) {
	if len(b) == 0 || b[0]&^(flagRoot|flagTrace|flagTold|flagFrom) != 0 {
		return e, nil, corrupt("an element whose flags are not known")
	}
	flags, rest := b[0], b[1:]
	cutText := func(flag byte, size int) (text string) {
		if flags&flag == 0 {
			return ""
		}
		if len(rest) < size {
			err = corrupt("an element that is shorter than its flags say")
			return ""
		}
		text, rest = string(rest[:size]), rest[size:]
		return text
	}
	e.Root, e.Trace, e.From = cutText(flagRoot, rootSize), cutText(flagTrace, traceSize), cutText(flagFrom, ids.TagSize)
	e.Told = flags&flagTold != 0
	return e, rest, err
}
