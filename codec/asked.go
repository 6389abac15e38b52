package codec

import "fmt"

// asked calls a method of the user's. A panic is an error like any other. What
// either says may hold what is stored, or is to be: it can be found with
// errors.As, and is not printed.
func asked(method string, call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			cause, _ := p.(error)
			err = refusal{"its " + method + " panicked", cause}
		}
	}()
	if err := call(); err != nil {
		return refusal{fmt.Sprintf("its %s returned an error (a %T)", method, err), err}
	}
	return nil
}

type refusal struct {
	text  string
	cause error
}

func (r refusal) Error() string { return r.text }
func (r refusal) Unwrap() error { return r.cause }
