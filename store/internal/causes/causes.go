// Package causes joins errors in one line.
package causes

import (
	"fmt"
	"strings"
)

// most is how many errors a joined text names.
const most = 10

// Join returns an error that wraps those that are not nil: nil if there are none,
// and the only one as it is. Its text is one line, with "; " between the causes,
// of which ten are named.
func Join(errs ...error) error {
	var all joined
	for _, err := range errs {
		if err != nil {
			all = append(all, err)
		}
	}
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return all
}

type joined []error

func (j joined) Error() string {
	var text strings.Builder
	for i, err := range j {
		if i == most {
			fmt.Fprintf(&text, "; and %d more", len(j)-most)
			break
		}
		if i > 0 {
			text.WriteString("; ")
		}
		text.WriteString(err.Error())
	}
	return text.String()
}

// Unwrap makes errors.Is and errors.As find each of them.
func (j joined) Unwrap() []error { return j }
