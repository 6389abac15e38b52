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
		"look again":      {ErrNotFound, ErrWrongState, ErrFenced},
		"ask an operator": {ErrUnsupported, ErrCorrupt, ErrNewerLayout},
		"causes of a ctx": {ErrMaxTurn, ErrShutdown},
	}
	kinds := map[error]error{ErrTooLarge: ErrInvalid, ErrNotAcked: ErrUnknownOutcome, ErrNoPermission: ErrUnsupported}
	all := []error{ErrInvalid, ErrTooLarge, ErrInTurn, ErrType, ErrReadOnly, ErrExists, ErrInboxFull, ErrBusy, ErrUnknownOutcome, ErrNotAcked,
		ErrNotFound, ErrWrongState, ErrFenced, ErrUnsupported, ErrNoPermission, ErrCorrupt, ErrNewerLayout, ErrMaxTurn, ErrShutdown}
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

func TestDecodeFillsWhatFitsAndNothingElse(t *testing.T) {
	t.Parallel()
	type place struct {
		City string `json:"city"`
		Days int8   `json:"days"`
	}
	list := Message{Content: []any{"a", "b"}}
	var texts []string
	if err := list.Decode(&texts); err != nil || len(texts) != 2 || texts[1] != "b" {
		t.Error(texts, err)
	}
	var p place
	if err := (Message{Content: map[string]any{"city": "Rome", "days": int64(3)}}).Decode(&p); err != nil || p != (place{"Rome", 3}) {
		t.Error(p, err)
	}
	var raw string
	if err := (Message{Content: "caf\xe9"}).Decode(&raw); err != nil || raw != "caf\xe9" {
		t.Errorf("%q %v", raw, err)
	}
	var b []byte
	content := []byte{0, 255}
	if err := (Message{Content: content}).Decode(&b); err != nil || string(b) != "\x00\xff" {
		t.Error(b, err)
	}
	if b[0] = 7; content[0] == 7 {
		t.Error("Decode shares the content's bytes")
	}
	p = place{"kept", 1}
	for _, m := range []Message{{Content: map[string]any{"city": "secret", "days": int64(700)}}, {Content: "secret"}, {Content: int64(7)}} {
		err := m.Decode(&p)
		if !errors.Is(err, ErrType) || p != (place{"kept", 1}) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v", p, err)
		}
	}
	for _, into := range []any{nil, 1, (*int)(nil)} {
		if err := list.Decode(into); !errors.Is(err, ErrType) {
			t.Errorf("into %T: %v", into, err)
		}
	}
}
