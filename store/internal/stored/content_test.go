package stored

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
)

// Bytes that are damaged may be those of anything: no error prints them.
func TestNoErrorShowsWhatIsStored(t *testing.T) {
	t.Parallel()
	wantNone := func(err, kind error) {
		t.Helper()
		wantErr(t, err, kind)
		if text := err.Error(); strings.Contains(text, "sesame") || strings.Contains(text, "4711") || strings.Contains(text, "\n") {
			t.Errorf("%q shows content, or is more than a line", text)
		}
	}
	for _, field := range []string{FieldRecord, FieldRetry} {
		for _, damaged := range []string{"sesame", "1 sesame", "1 1 0 0 0 0 0 0 0 sesame 0 1", "1 1 0 0 0 0 0 0 0 - 0 1 sesame", "0 0 free - sesame 0 0 0 0", "-4711 4711"} {
			pairs := map[string]string{FieldRecord: leastRecord, FieldState: "s"}
			pairs[field] = damaged
			_, err := ReadRecord(someRef, pairsOf(pairs))
			wantNone(err, session.ErrCorrupt)
		}
	}
	for _, damaged := range []string{"sesame", "jsesame", `j["sesame",4711,"sesame",[["sesame"]]]`, `j{"sesame":4711}`, "j4711", "m\xa9sesame", `j["sesame"]`, "j[4711,1]"} {
		b := []byte(damaged)
		_, err := DecodeMessage(b)
		wantNone(err, session.ErrCorrupt)
		for _, err := range []error{second(DecodeIntent(b)), second(DecodeFile(b)), third(DecodeEvent(b)), second(DecodeEntry(append([]byte("123456"), b...))), second(DecodeDeadLetter(append([]byte("123456"), b...)))} {
			wantNone(err, session.ErrCorrupt)
		}
		if damaged == "j4711" {
			continue // good as a value
		}
		r := mustRead(t, map[string]string{FieldRecord: leastRecord, FieldState: "s", FieldMessage: damaged, FieldIntent: damaged, FieldFile: damaged})
		_, err = r.Snapshot()
		wantNone(err, session.ErrCorrupt)
	}
	for _, number := range []string{"sesame", "4711sesame", ""} {
		why, err := EncodeWhy(codec.JSON, session.DeadLetter{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = DecodeDeadLetter(fmt.Appendf(nil, "123456r%d:%s1758:%s:0:123456j[1,\"sesame\"]", len(why), why, number))
		wantNone(err, session.ErrCorrupt)
	}
	for _, c := range codecs {
		_, _, err := Fields(c, session.Change{Set: map[string]any{"k": []any{"sesame", uint64(4711), func() {}}}})
		wantNone(err, session.ErrInvalid)
		_, err = EncodeMessage(c, session.Message{From: session.FromBot, Content: []any{"sesame", func() {}}})
		wantNone(err, session.ErrInvalid)
		_, err = EncodeEvent(c, session.Event{ID: "1", Text: "sesame", Payload: map[string]any{"sesame": func() {}}})
		wantNone(err, session.ErrInvalid)
	}
}

// A damaged field is the operator's, whatever is there in its place.
func TestAFieldOfAnotherTypeIsCorruptAndNoWrongType(t *testing.T) {
	t.Parallel()
	r := mustRead(t, map[string]string{FieldRecord: leastRecord, FieldState: "s", FieldMessage: "j7", PrefixData + "wide": "j18446744073709551615"})
	s, err := r.Snapshot()
	wantErr(t, err, session.ErrCorrupt, FieldMessage, "d:wide", "; ")
	if errors.Is(err, session.ErrType) || s.Message != "" {
		t.Errorf("%v, message %q", err, s.Message)
	}
}
