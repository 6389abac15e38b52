package codec

import (
	"errors"
	"fmt"
)

// asked calls a method of a user's type. A panic of it is an error like any other.
// What either says may hold some of what is stored, or is to be: it is not printed.
func asked(method string, call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			cause, _ := p.(error)
			err = &refusal{"its " + method + " panicked", cause}
		}
	}()
	if err := call(); err != nil {
		return &refusal{fmt.Sprintf("its %s returned an error (a %T)", method, err), err}
	}
	return nil
}

// A refusal is an error with a text of ours and a cause whose text is not printed.
// The cause is found by errors.Is and errors.As, through methods rather than Unwrap:
// code of the user's that panics there finds nothing, and who must do what is
// decided here, not by a cause that is an [ErrInvalid] of its own.
type refusal struct {
	text  string
	cause error // may be nil
}

func (r *refusal) Error() string { return r.text }

func (r *refusal) Is(target error) bool {
	if target == ErrInvalid || target == ErrCorrupt || target == ErrType {
		return false
	}
	return holds(func() bool { return errors.Is(r.cause, target) })
}

func (r *refusal) As(target any) bool {
	return holds(func() bool { return errors.As(r.cause, target) })
}

func holds(find func() bool) (found bool) {
	defer func() { recover() }()
	return find()
}
