package demo

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const twoDialogues = `{"id":"a","extra":1,"turns":[{"speaker":"user","text":"hi","intent":"greet","slots":{"k":"v"}},{"speaker":"system","text":"hello","acts":["GREET"]}]}

{"id":"b","turns":[{"speaker":"user","text":"one"},{"speaker":"system","text":"two"},{"speaker":"user","text":"three"}]}
`

func zip(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(text))
	w.Close()
	return b.String()
}

func TestReadDialogues(t *testing.T) {
	t.Parallel()
	a := Dialogue{id: "a", exchanges: []exchange{{Text: "hi", Intent: "greet", Slots: map[string]string{"k": "v"}, Reply: "hello"}}}
	b := Dialogue{id: "b", exchanges: []exchange{{Text: "one", Reply: "two"}, {Text: "three"}}}
	for _, test := range []struct {
		name, in string
		limit    int
		want     []Dialogue
	}{
		{"plain", twoDialogues, 0, []Dialogue{a, b}},
		{"gzip", zip(twoDialogues), 0, []Dialogue{a, b}},
		{"the first one", twoDialogues, 1, []Dialogue{a}},
		{"what is behind the limit is not read", twoDialogues + "rubbish", 2, []Dialogue{a, b}},
		{"no end of line at the end", strings.TrimSpace(twoDialogues), 0, []Dialogue{a, b}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := readDialogues(strings.NewReader(test.in), test.limit)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(Dialogue{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReadDialoguesSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	good := `{"id":"a","turns":[{"speaker":"user","text":"hi"}]}` + "\n"
	for _, test := range []struct{ name, in, want string }{
		{"nothing", "", "no dialogues in it"},
		{"blank lines", "\n\n", "no dialogues in it"},
		{"not JSON", good + "pizza", "line 2: not a dialogue: invalid character 'p' looking for beginning of value"},
		{"not an object", "[]", "line 1: not a dialogue: json: cannot unmarshal array into Go value of type demo.dialogueLine"},
		{"two objects on a line", `{"id":"a"} {"id":"b"}`, "line 1: not a dialogue: invalid character '{' after top-level value"},
		{"a slot that is no text", `{"id":"a","turns":[{"speaker":"user","slots":{"k":1}}]}`, "line 1: not a dialogue: json: cannot unmarshal number into Go struct field .turns.slots of type string"},
		{"no id", good + `{"turns":[]}`, "line 2: id: invalid: the session id is empty"},
		{"a long id", `{"id":"` + strings.Repeat("x", 513) + `"}`, "line 1: id: invalid: the session id has 513 bytes, the most is 512"},
		{"an id twice", good + "\n" + good, `line 3: the id "a" is that of line 1`},
		{"no turns", `{"id":"a"}`, `line 1: dialogue "a" has no turns`},
		{"an unknown speaker", `{"id":"a","turns":[{"speaker":"cat"}]}`, `line 1: dialogue "a": turn 1: speaker "cat", want "user": user and system alternate, the user begins`},
		{"the system begins", `{"id":"a","turns":[{"speaker":"system"}]}`, `line 1: dialogue "a": turn 1: speaker "system", want "user": user and system alternate, the user begins`},
		{"the user twice", `{"id":"a","turns":[{"speaker":"user"},{"speaker":"user"}]}`, `line 1: dialogue "a": turn 2: speaker "user", want "system": user and system alternate, the user begins`},
		{"an intent that is no state", `{"id":"a","turns":[{"speaker":"user","intent":"\u0000"}]}`, `line 1: dialogue "a": turn 1: intent: invalid: state "\x00" holds a NUL byte`},
		{"a slot without a name", `{"id":"a","turns":[{"speaker":"user","slots":{"":"v"}}]}`, `line 1: dialogue "a": turn 1: invalid: the slot is empty`},
		{"a long line", good + strings.Repeat("x", maxLine+1), fmt.Sprintf("line 2: longer than %d bytes", maxLine)},
		{"gzip that ends early", zip(twoDialogues)[:60], "line 1: unexpected EOF"},
		{"gzip that is none", "\x1f\x8bpizza", "read gzip: unexpected EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := readDialogues(strings.NewReader(test.in), 0)
			if err == nil || err.Error() != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

func TestCarriedDialogues(t *testing.T) {
	t.Parallel()
	dialogues, err := Load("", 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(dialogues) < 24 {
		t.Errorf("%d dialogues, want two dozen", len(dialogues))
	}
	moves := 0
	for _, d := range dialogues {
		if n := 2 * len(d.exchanges); n < 4 || n > 12 {
			t.Errorf("%s has %d turns, want 4 to 12", d.id, n)
		}
		state := initialState
		for _, x := range d.exchanges {
			if x.Reply == "" {
				t.Errorf("%s: no reply to %q", d.id, x.Text)
			}
			if x.Intent != "" && x.Intent != state {
				state = x.Intent
				moves++
			}
		}
	}
	if moves <= len(dialogues) {
		t.Errorf("%d moves in %d dialogues: the intent should change within some", moves, len(dialogues))
	}
}

func TestNoSuchFile(t *testing.T) {
	t.Parallel()
	if _, err := Load("no/such/file", 0); err == nil {
		t.Error("no error")
	}
}

func FuzzReadDialogues(f *testing.F) {
	f.Add([]byte(twoDialogues))
	f.Add([]byte(zip(twoDialogues)))
	f.Add(carried)
	f.Add([]byte(`{"id":"a","turns":[{"speaker":"user","slots":{"k":null}}]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		dialogues, err := readDialogues(bytes.NewReader(in), 0)
		if err != nil {
			return
		}
		if len(dialogues) == 0 {
			t.Fatal("neither a dialogue nor an error")
		}
		seen := map[string]bool{}
		for _, d := range dialogues {
			if d.id == "" || len(d.exchanges) == 0 || seen[d.id] {
				t.Fatalf("read %+v", d)
			}
			seen[d.id] = true
			expect(d)
		}
	})
}
