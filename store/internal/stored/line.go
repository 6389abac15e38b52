package stored

import (
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/botsession/botsession/store/internal/ids"
)

// A Line is what is known of the id of an event. lua/prelude/ids.lua shows its bytes,
// and writes and reads the same ones; the two mirror each other.
type Line struct {
	Status byte      // Status is one of the letters below.
	Made   bool      // Made is whether the call that accepted the event made the session.
	Forget int64     // Forget is when to forget the id, in s of Unix time.
	Token  ids.Token // Token is that under which the event was handled, or made a dead letter; less than 2^53. Empty is 0.
	First  int64     // First is the number of the first message of its turn, or the version that a change made.
	Call   ids.End   // Call is that of the call that accepted the event. Empty is ids.Nobody.
	Count  int64     // Count is how many messages its turn has.
}

// The statuses of a Line.
const (
	LineWaits   = 'p' // LineWaits: the event was accepted.
	LineHandled = 'd' // LineHandled: a turn of it was committed.
	LineDead    = 'x' // LineDead: it is a dead letter.
	LineDropped = 'o' // LineDropped: a destroy dropped it.
	LineApplied = 'u' // LineApplied: it is no event, but a change that was made once under the id.
	LineVoid    = 'v' // LineVoid: as if there were no line.
)

const (
	lineSize = 25
	manySize = 5 // of the count, if the last byte is many
	many     = 255
)

// Encode returns the bytes of the line.
func (l Line) Encode() string {
	b := make([]byte, 0, lineSize+manySize)
	b = append(b, l.Status)
	if l.Made {
		b[0] -= 'a' - 'A'
	}
	token, _ := strconv.ParseInt(string(l.Token), 10, 64)
	b = appendNumber(b, l.Forget, 5)
	b = appendNumber(b, token, 7)
	b = appendNumber(b, l.First, 5)
	if l.Call == "" {
		l.Call = ids.Nobody
	}
	b = append(b, l.Call...)
	if l.Count >= many {
		return string(appendNumber(append(b, many), l.Count, manySize))
	}
	return string(append(b, byte(l.Count)))
}

// appendNumber appends the last bytes of a number, so many of them.
func appendNumber(b []byte, n int64, size int) []byte {
	var all [8]byte
	binary.BigEndian.PutUint64(all[:], uint64(n))
	return append(b, all[len(all)-size:]...)
}

// ReadLine reads what Encode wrote. It returns [session.ErrCorrupt] for anything else.
func ReadLine(line string) (l Line, err error) {
	if len(line) < lineSize {
		return l, corrupt("a line of %d bytes", len(line))
	}
	number := func(from, size int) (n int64) {
		for _, b := range []byte(line[from : from+size]) {
			n = n<<8 | int64(b)
		}
		return n
	}
	l = Line{
		Status: line[0],
		Forget: number(1, 5),
		Token:  ids.Token(strconv.FormatInt(number(6, 7), 10)),
		First:  number(13, 5),
		Call:   ids.End(line[18:24]),
		Count:  number(24, 1),
	}
	size := lineSize
	if l.Count == many {
		size += manySize
	}
	if len(line) != size {
		return Line{}, corrupt("a line of %d bytes, not %d", len(line), size)
	}
	if l.Count == many {
		l.Count = number(lineSize, manySize)
	}
	if l.Made = 'A' <= l.Status && l.Status <= 'Z'; l.Made {
		l.Status += 'a' - 'A'
	}
	if strings.IndexByte("pdxouv", l.Status) < 0 {
		return Line{}, corrupt("a line of the status %q", l.Status)
	}
	return l, nil
}
