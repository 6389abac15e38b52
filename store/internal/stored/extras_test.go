package stored

import (
	"errors"
	"strings"
	"testing"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/ids"
)

func TestExtrasComeBackWithWhatIsBehindThem(t *testing.T) {
	t.Parallel()
	root, trace := strings.Repeat("r", rootSize), strings.Repeat("t", traceSize)
	for _, want := range []Extras{{}, {Root: root}, {Trace: trace}, {Told: true}, {From: "fro"}, {Root: root, Trace: trace, From: "fro", Told: true}} {
		stored := want.With([]byte("m\x01"))
		if want == (Extras{}) && stored != "\x00m\x01" {
			t.Errorf("without extras: %q", stored)
		}
		waits, err := ReadAccepted([]byte(strings.Repeat("d", ids.DigestSize) + "\x00\x00\x00\x00\x00\x01" + stored))
		if err != nil || waits.Extras != want || string(waits.Event) != "m\x01" || waits.Time.UnixMilli() != 1 {
			t.Errorf("%+v in the inbox: %+v, %v", want, waits, err)
		}
		entry := EntryAt(2, codec.Encoded("m\x02"))
		unsent, err := ReadUnsent([]byte(UnsentElement(ids.Reply{Life: "7", Number: 3}, want.With([]byte("an id")), entry)))
		if err != nil || unsent.Extras != want || unsent.EventID != "an id" || string(unsent.Message) != "m\x02" || unsent.Time.UnixMilli() != 2 {
			t.Errorf("%+v in the outbox: %+v, %v", want, unsent, err)
		}
	}
}

func TestExtrasThatCannotBeReadAreCorrupt(t *testing.T) {
	t.Parallel()
	for what, b := range map[string]string{
		"no flags": "", "an unknown flag": "\x10m\x01", "half a root": "\x01rrr", "half a trace": "\x02" + strings.Repeat("t", traceSize-1),
		"half of who accepted it": "\x08fr", "a root and no trace": "\x03" + strings.Repeat("r", rootSize),
	} {
		if _, err := ReadAccepted([]byte(strings.Repeat("d", ids.DigestSize) + "\x00\x00\x00\x00\x00\x01" + b)); !errors.Is(err, session.ErrCorrupt) {
			t.Errorf("%s in the inbox: %v", what, err)
		}
		if _, err := ReadUnsent([]byte(UnsentElement(ids.Reply{Life: "7", Number: 3}, b, EntryAt(2, nil)))); !errors.Is(err, session.ErrCorrupt) {
			t.Errorf("%s in the outbox: %v", what, err)
		}
	}
}
