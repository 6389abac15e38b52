package store

import (
	"encoding/binary"
	"hash/maphash"
	"slices"
)

// A seen is a set of ids, of which it has 62 bits of a hash each: six bytes, in a part
// that the other bits choose, so that a million ids take little more than six megabytes.
// That two of a million ids have the same bits happens once in ten million times. The
// zero seen is empty.
type seen struct {
	seed  maphash.Seed
	parts [][][6]byte // parts is nil before the first id is added
}

const seenParts = 1 << 14

// find returns the part in which an id would be, and its bits there.
func (s *seen) find(id string) (part *[][6]byte, bits [6]byte) {
	if s.parts == nil {
		s.parts, s.seed = make([][][6]byte, seenParts), maphash.MakeSeed()
	}
	var hash [8]byte
	sum := maphash.String(s.seed, id)
	binary.BigEndian.PutUint64(hash[:], sum)
	return &s.parts[sum%seenParts], [6]byte(hash[:6])
}

// has reports whether an id was added.
func (s *seen) has(id string) bool {
	part, bits := s.find(id)
	return slices.Contains(*part, bits)
}

// add adds an id that it does not have.
func (s *seen) add(id string) {
	part, bits := s.find(id)
	if n := len(*part); n == cap(*part) { // what append would double is most of the memory
		*part = append(make([][6]byte, 0, n+max(8, n/8)), *part...)
	}
	*part = append(*part, bits)
}
