// Package ids has the ids that are stored or compared: for each kind one type, and
// one function that makes or formats it.
package ids

import (
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"strconv"
	"strings"
)

// A Digest stands for the id of an event, in the inbox and among the ids seen. An
// empty one means that there is no event.
type Digest string

// DigestSize is how many bytes a Digest has, so that the ids of a session stay
// compact whatever the platform sends.
const DigestSize = 16

// DigestOf returns the digest of an event's id.
func DigestOf(eventID string) Digest {
	sum := sha256.Sum256([]byte(eventID))
	return Digest(sum[:DigestSize])
}

// DigestOfLetter returns the digest under which the event of a dead letter is delivered
// again: of the letter's time, as it is stored, and of the digest that the event had. No
// event's id has it, because the hash is another one.
func DigestOfLetter(stamp string, had Digest) Digest {
	sum := sha512.Sum512_256([]byte(stamp + string(had)))
	return Digest(sum[:DigestSize])
}

// A Call is the id of a call of a script. By it a script knows a call that is sent
// again, and the holder of a lease. No other call has it.
type Call string

// NewCall returns the id of a replica's n-th call. The replica's name ends in a '-'
// and what [Random] returned.
func NewCall(replica string, n uint64) Call {
	id := make([]byte, 0, 64)
	id = append(append(id, replica...), '#')
	return Call(strconv.AppendUint(id, n, 36))
}

// Replica returns the name of the replica that made the call.
func (c Call) Replica() string {
	if i := strings.LastIndexByte(string(c), '#'); i >= 0 {
		return string(c[:i])
	}
	return string(c)
}

// An End is what is kept of the id of a call that accepted an event: three bytes of the
// SHA-1 of the replica's name, and three of the call's number. call_end in
// lua/prelude/ids.lua mirrors this, and says which calls have the same one.
type End string

// An End has so many bytes, of which the first are those of the replica's name.
const (
	EndSize = 6
	TagSize = 3
)

// TagOf returns the bytes that the ends of a replica's calls begin with.
func TagOf(replica string) string {
	sum := sha1.Sum([]byte(replica))
	return string(sum[:TagSize])
}

// Nobody is the End where it is not known which call accepted an event.
const Nobody End = "\x00\x00\x00\x00\x00\x00"

// End returns the end of the call's id.
func (c Call) End() End {
	replica := c.Replica()
	n, _ := strconv.ParseUint(strings.TrimPrefix(string(c[len(replica):]), "#"), 36, 64)
	return End(TagOf(replica)) + End([]byte{byte(n >> 16), byte(n >> 8), byte(n)})
}

// A Token is the fencing token of a hand-out, in decimal. Scripts make it, in
// lua/prelude/record.lua; it is compared as text, because Lua's numbers lose digits.
type Token string

// A Reply is the name of a reply of a session.
type Reply struct {
	Life   string // Life is the number of the life in which it was said, in decimal.
	Number int64  // Number is its sequence number in the chat.
}

// String returns the name as the outbox and a Delivery's Key have it.
func (r Reply) String() string { return r.Life + ":" + strconv.FormatInt(r.Number, 10) }

// Random returns n letters and digits at random, at most 26, each of 5 bits.
func Random(n int) string { return strings.ToLower(rand.Text()[:n]) }
