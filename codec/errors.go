package codec

import (
	"errors"
	"fmt"
)

// The errors of this package. Package session has them under the same names, as
// the same values, beside those of the store: compare with those.
var (
	// ErrInvalid says that a value has no encoding, or that a codec has no such
	// name: the caller's input must be mended.
	ErrInvalid = errors.New("invalid")

	// ErrCorrupt says that bytes are not what a codec writes.
	ErrCorrupt = errors.New("corrupt")

	// ErrType says that a stored value does not fit the Go type asked for, or that
	// what was given to decode into is not a pointer: the program must be mended.
	// It is not an [ErrInvalid].
	ErrType = errors.New("wrong type")
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, args...)...)
}
