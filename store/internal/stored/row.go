package stored

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
)

// A row is a list with a meaning for each position, as the domain's values are
// stored. Its methods note the first item that is not what it should be; err
// is then what the row's reader returns. Items behind those that a reader knows
// are ignored, so that a row can grow.
type row struct {
	what  string // for the error
	items []any
	err   error
}

// readRow reads a stored value that is a row of at least n items.
func readRow(b []byte, what string, n int) *row {
	v, err := codec.DecodeAny(b)
	if err != nil {
		return &row{what: what, err: err}
	}
	return asRow(v, what, n)
}

func asRow(v any, what string, n int) *row {
	items, ok := v.([]any)
	if !ok || len(items) < n {
		return &row{what: what, err: corrupt("%s: want a list of %d, found a %T", what, n, v)}
	}
	return &row{what: what, items: items}
}

// cell returns item i as a T, and notes when it is no T.
func cell[T any](r *row, i int) T {
	var zero T
	if r.err != nil {
		return zero
	}
	v, ok := r.items[i].(T)
	if !ok {
		r.err = corrupt("%s: item %d is a %T, want a %T", r.what, i, r.items[i], zero)
	}
	return v
}

// optional is cell for an item that may be nil, which gives the zero T.
func optional[T any](r *row, i int) T {
	if r.err == nil && r.items[i] == nil {
		var zero T
		return zero
	}
	return cell[T](r, i)
}

// stampSize is how many bytes a stamp has, see lua/prelude/list.lua.
const stampSize = 6

// cut splits what begins with a stamp into that and the rest.
func cut(b []byte) (time.Time, []byte, error) {
	if len(b) < stampSize {
		return time.Time{}, nil, corrupt("%d bytes, too few for the %d of the time", len(b), stampSize)
	}
	var at [8]byte
	copy(at[8-stampSize:], b)
	return time.UnixMilli(int64(binary.BigEndian.Uint64(at[:]))).UTC(), b[stampSize:], nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{session.ErrInvalid}, args...)...)
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{session.ErrCorrupt}, args...)...)
}
