package codec

import (
	"errors"
	"fmt"
)

// The errors of this package. Package session has the same values under the same
// names.
var (
	// ErrInvalid says that a value cannot be encoded, or that there is no such codec.
	ErrInvalid = errors.New("invalid")

	// ErrCorrupt says that the bytes are not what a codec writes.
	ErrCorrupt = errors.New("corrupt")

	// ErrType says that a stored value does not fit the Go type that it is to be
	// read into, or that what was given for that is not a pointer. It is not an
	// [ErrInvalid].
	ErrType = errors.New("wrong type")
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, args...)...)
}
