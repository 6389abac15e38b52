package demo

import (
	"bufio"
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/botsession/botsession/session"
)

// carried is the file of dialogues that Load reads if it is given none.
//
//go:embed dialogues.jsonl
var carried []byte

// A Dialogue is what one user and the bot say to each other, and what the bot knows
// at each step. It becomes one session.
type Dialogue struct {
	id        string // the session's id
	exchanges []exchange
}

// An exchange is a user's message, what the bot makes of it, and its reply.
type exchange struct {
	Text   string
	Intent string            // empty: none was predicted
	Slots  map[string]string // everything known so far
	Reply  string            // empty: the bot says nothing
}

// dialogueLine is the form of a dialogue in a file, one a line. Other fields are
// ignored:
//
//	{"id": "pizza-1", "turns": [
//	  {"speaker": "user", "text": "A pizza, please.", "intent": "order", "slots": {"dish": "pizza"}},
//	  {"speaker": "system", "text": "Which size?"}]}
type dialogueLine struct {
	ID    string `json:"id"`
	Turns []struct {
		Speaker string            `json:"speaker"`
		Text    string            `json:"text"`
		Intent  string            `json:"intent"`
		Slots   map[string]string `json:"slots"`
	} `json:"turns"`
}

// maxLine is the longest line of a file of dialogues, in bytes.
const maxLine = 1 << 20

// Load returns the dialogues of a file, JSON lines, plain or in gzip; of two dozen
// that the program has if path is empty. A limit above 0 ends it after so many. Its
// error names the line that is wrong.
func Load(path string, limit int) ([]Dialogue, error) {
	if path == "" {
		return readDialogues(bytes.NewReader(carried), limit)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	dialogues, err := readDialogues(f, limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return dialogues, nil
}

func readDialogues(r io.Reader, limit int) ([]Dialogue, error) {
	in := bufio.NewReader(r)
	if magic, _ := in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unzip, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("read gzip: %w", err)
		}
		defer unzip.Close()
		in = bufio.NewReader(unzip)
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	var dialogues []Dialogue
	seen := map[string]int{}
	number := 0
	for lines.Scan() && lines.Err() == nil { // what precedes an error is half a line
		number++
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		d, err := parseDialogue(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if first, twice := seen[d.id]; twice {
			return nil, fmt.Errorf("line %d: the id %q is that of line %d", number, d.id, first)
		}
		seen[d.id] = number
		dialogues = append(dialogues, d)
		if len(dialogues) == limit {
			return dialogues, nil
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("line %d: longer than %d bytes", number+1, maxLine)
	case err != nil:
		return nil, fmt.Errorf("line %d: %w", number+1, err)
	case len(dialogues) == 0:
		return nil, errors.New("no dialogues in it")
	}
	return dialogues, nil
}

func parseDialogue(line []byte) (Dialogue, error) {
	var raw dialogueLine
	if err := json.Unmarshal(line, &raw); err != nil {
		return Dialogue{}, fmt.Errorf("not a dialogue: %w", err)
	}
	if err := (session.Ref{Bot: "demo", ID: raw.ID}).Validate(); err != nil {
		return Dialogue{}, fmt.Errorf("id: %w", err)
	}
	if len(raw.Turns) == 0 {
		return Dialogue{}, fmt.Errorf("dialogue %q has no turns", raw.ID)
	}
	d := Dialogue{id: raw.ID}
	for i, turn := range raw.Turns {
		if want := [2]string{"user", "system"}[i%2]; turn.Speaker != want {
			return Dialogue{}, fmt.Errorf("dialogue %q: turn %d: speaker %q, want %q: user and system alternate, the user begins", raw.ID, i+1, turn.Speaker, want)
		}
		if turn.Speaker == "system" {
			d.exchanges[i/2].Reply = turn.Text
			continue
		}
		if turn.Intent != "" {
			if err := session.ValidState(turn.Intent); err != nil {
				return Dialogue{}, fmt.Errorf("dialogue %q: turn %d: intent: %w", raw.ID, i+1, err)
			}
		}
		for name := range turn.Slots {
			if err := session.ValidKey("slot", name); err != nil {
				return Dialogue{}, fmt.Errorf("dialogue %q: turn %d: %w", raw.ID, i+1, err)
			}
		}
		d.exchanges = append(d.exchanges, exchange{Text: turn.Text, Intent: turn.Intent, Slots: turn.Slots})
	}
	return d, nil
}

// turns returns the number of the users' messages.
func turns(dialogues []Dialogue) int {
	n := 0
	for _, d := range dialogues {
		n += len(d.exchanges)
	}
	return n
}
