package call

import (
	"slices"
	"testing"

	"github.com/botsession/botsession/lua"
)

func TestAReplyIsReadByTheNamesInTheHeader(t *testing.T) {
	r := NewReply(lua.Settle, []any{"OK", int64(7), int64(3), "1700", int64(0), int64(9), []any{"idle"}})
	if r.Status() != "OK" || r.Now() != 7 || r.Int("first") != 3 || r.Int("at") != 1700 || r.Int("version") != 9 || r.Next().Status() != "idle" {
		t.Errorf("read from %v: %q %d %d %d %d %q", r, r.Status(), r.Now(), r.Int("first"), r.Int("at"), r.Int("version"), r.Next().Status())
	}
	next := NewReply(lua.Accept, []any{"OK", int64(7), "0", []any{"hand", "the record"}}).Next()
	if next.Text("rec") != "the record" || len(next.Texts("hash")) != 0 {
		t.Errorf("read from %v: %q %q", next, next.Text("rec"), next.Texts("hash"))
	}
	var found []string
	for row := range NewReply(lua.Page, []any{"OK", int64(7), int64(4), []any{int64(2)}, []any{"a", "1", "b", "2"}}).Rows("found") {
		found = append(found, row.Text("id"), row.Text("score"))
	}
	if want := []string{"a", "1", "b", "2"}; !slices.Equal(found, want) {
		t.Errorf("the rows are %q, want %q", found, want)
	}
}

func TestAReplyThatIsNotThereIsEmpty(t *testing.T) {
	for name, r := range map[string]Reply{
		"none": {}, "of an error": NewReply(lua.Settle, nil), "of another version": NewReply(lua.Settle, []any{"NEW", int64(7)}),
	} {
		if r.Int("version") != 0 || r.Text("state") != "" || r.Next().Status() != "" || r.Texts("hash") == nil && r.Has("hash") {
			t.Errorf("the reply %s is not empty", name)
		}
		for range r.Rows("found") {
			t.Errorf("the reply %s has rows", name)
		}
	}
}

func TestANameThatTheHeaderDoesNotHavePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("it was read")
		}
	}()
	NewReply(lua.Settle, []any{"DUPLICATE", int64(7), int64(1)}).Int("first")
}
