package stored

import (
	"crypto/sha1"
	"encoding/binary"
	"time"
)

// In the index of a bot a session stands by one number, its place, which is made of its
// state and of the minute in which it was last active: lua/prelude/index.lua shows how,
// and makes the same numbers. The two mirror each other.
const (
	stateBits  = 28
	minuteBits = 25

	// LastPlace is the last place that a session may have. A float64 holds it, and
	// each one before it, exactly.
	LastPlace = 1<<(stateBits+minuteBits) - 1
	// LastMinute is the last minute that a place can have, in the year 2083.
	LastMinute = 1<<minuteBits - 1

	firstMinute = 26297280 // of Unix time: 2020-01-01T00:00:00Z
)

// Place returns the place of a session in this state that was last active at ms of
// Unix time.
func Place(state string, ms int64) int64 {
	first, _ := Places(state)
	return first + Minute(ms)
}

// Places returns the first and the last place of a state. Other states may have the
// same ones: there are 2^28 such ranges.
func Places(state string) (first, last int64) {
	sum := sha1.Sum([]byte(state))
	first = int64(binary.BigEndian.Uint32(sum[:])>>(32-stateBits)) << minuteBits
	return first, first + LastMinute
}

// Minute returns the minute of a moment in ms of Unix time, counted as in places.
func Minute(ms int64) int64 {
	return min(max(ms/time.Minute.Milliseconds()-firstMinute, 0), LastMinute)
}

// PlaceParts returns the first place of the state of a place, and the minute of it.
func PlaceParts(place int64) (first, minute int64) {
	return place &^ LastMinute, place & LastMinute
}

// MinuteStart returns when a minute of a place begins, in ms of Unix time.
func MinuteStart(minute int64) int64 {
	return (minute + firstMinute) * time.Minute.Milliseconds()
}
