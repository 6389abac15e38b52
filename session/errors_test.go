package session

import (
	"errors"
	"strings"
	"testing"

	"github.com/botsession/botsession/codec"
)

// Who must do what: each error is in one group, and those that are another's kind
// are found as that.
func TestEachErrorIsInOneGroup(t *testing.T) {
	t.Parallel()
	groups := map[string][]error{
		"fix the input":   {ErrInvalid},
		"fix the program": {ErrInTurn, ErrType, ErrReadOnly, ErrExists},
		"try again":       {ErrInboxFull, ErrBusy, ErrUnknownOutcome},
		"look again":      {ErrNotFound, ErrWrongState, ErrChanged, ErrFenced},
		"ask an operator": {ErrUnsupported, ErrCorrupt, ErrNewerLayout},
		"causes of a ctx": {ErrMaxTurn, ErrShutdown},
		"an event's end":  {ErrDead, ErrDropped},
	}
	kinds := map[error]error{ErrTooLarge: ErrInvalid, ErrNotAcked: ErrUnknownOutcome, ErrNoPermission: ErrUnsupported}
	all := []error{ErrInvalid, ErrTooLarge, ErrInTurn, ErrType, ErrReadOnly, ErrExists, ErrInboxFull, ErrBusy, ErrUnknownOutcome, ErrNotAcked,
		ErrNotFound, ErrWrongState, ErrChanged, ErrFenced, ErrUnsupported, ErrNoPermission, ErrCorrupt, ErrNewerLayout, ErrMaxTurn, ErrShutdown, ErrDead, ErrDropped}
	for _, err := range all {
		in := 0
		for _, group := range groups {
			for _, of := range group {
				if errors.Is(err, of) {
					in++
				}
			}
		}
		if in != 1 {
			t.Errorf("%v is in %d groups", err, in)
		}
		if text := err.Error(); text == "" || strings.ContainsAny(text, "\n\t") {
			t.Errorf("%q is not one line", text)
		}
	}
	for err, of := range kinds {
		if !errors.Is(err, of) || errors.Is(of, err) {
			t.Errorf("%v is not a kind of %v", err, of)
		}
	}
}

func TestTheErrorsOfTheCodecAreTheSameHere(t *testing.T) {
	t.Parallel()
	for here, there := range map[error]error{ErrInvalid: codec.ErrInvalid, ErrCorrupt: codec.ErrCorrupt, ErrType: codec.ErrType} {
		if here != there {
			t.Errorf("%v is another error in package codec", here)
		}
	}
	if errors.Is(ErrType, ErrInvalid) {
		t.Error("a wrong type blames the input")
	}
}

func TestValidateShowsNoContent(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", MaxLabel+1)
	for name, e := range map[string]Event{
		"no id":               {},
		"a long id":           {ID: long},
		"a long kind":         {ID: "1", Kind: long},
		"a NUL in a platform": {ID: "1", Platform: "\x00"},
		"a long user":         {ID: "1", User: long},
		"a file without name": {ID: "1", File: &File{}},
	} {
		e.Text, e.Payload = "sesame", map[string]any{"sesame": "sesame"}
		if e.File == nil {
			e.File = &File{Name: "sesame"}
		}
		e.File.Type, e.File.Data = "sesame", []byte("sesame")
		if err := e.Validate(); !errors.Is(err, ErrInvalid) || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
