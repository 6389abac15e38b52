package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
)

// An exchange is what one turn is about: what the user says, what a classifier
// makes of it, the two values that the bot notes, and its reply.
type exchange struct {
	Text   string
	Intent string
	Values [2]string
	Reply  string
}

// The keys of the two values, and the states between which each turn moves.
var (
	valueKeys = [2]string{"place", "time"}
	states    = [2]string{"asking", "ordering"}
)

// score is the classifier's confidence, in every contender's intent.
const score = 0.93

func nextState(state string) string {
	if state == states[0] {
		return states[1]
	}
	return states[0]
}

// A message is one entry of a chat, as the contenders without a form of their
// own keep it.
type message struct {
	From string `json:"from" msgpack:"from"`
	Text string `json:"text" msgpack:"text"`
	Time int64  `json:"time" msgpack:"time"` // Unix milliseconds
}

const (
	fromUser = "user"
	fromBot  = "bot"
)

// dialogues are the turns of whole conversations.
type dialogues [][]exchange

// flat returns all exchanges, one after the other.
func (d dialogues) flat() []exchange { return slices.Concat(d...) }

// chat returns the last n messages of a chat that goes on through the
// dialogues, from the one numbered first, as long as it takes.
func (d dialogues) chat(first, n int) []exchange {
	var chat []exchange
	for i := first; 2*len(chat) < n; i++ {
		chat = append(chat, d[i%len(d)]...)
	}
	return chat[:n/2]
}

// asMessages returns a chat's messages, user and bot in turns.
func asMessages(chat []exchange, now int64) []message {
	messages := make([]message, 0, 2*len(chat))
	for i, x := range chat {
		at := now - int64(len(chat)-i)*1000
		messages = append(messages, message{fromUser, x.Text, at}, message{fromBot, x.Reply, at})
	}
	return messages
}

// readDialogues reads dialogues, one JSON object a line, plain or gzip. An
// exchange is a user's turn and the system's turn after it.
func readDialogues(path string) (dialogues, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	buffered := bufio.NewReaderSize(file, 1<<20)
	var in io.Reader = buffered
	if magic, _ := buffered.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		if in, err = gzip.NewReader(buffered); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
	}
	var all dialogues
	for decoder := json.NewDecoder(in); ; {
		var line struct {
			Turns []struct {
				Speaker string            `json:"speaker"`
				Text    string            `json:"text"`
				Intent  string            `json:"intent"`
				Slots   map[string]string `json:"slots"`
			} `json:"turns"`
		}
		if err := decoder.Decode(&line); err == io.EOF {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read %s, dialogue %d: %w", path, len(all)+1, err)
		}
		var d []exchange
		for i := 0; i+1 < len(line.Turns); i++ {
			user, system := line.Turns[i], line.Turns[i+1]
			if user.Speaker != "user" || system.Speaker != "system" || user.Text == "" || system.Text == "" {
				continue
			}
			x := exchange{Text: user.Text, Intent: user.Intent, Reply: system.Text}
			if x.Intent == "" {
				x.Intent = "NONE"
			}
			names := make([]string, 0, len(user.Slots))
			for name := range user.Slots {
				names = append(names, name)
			}
			slices.Sort(names)
			for v := range min(2, len(names)) {
				x.Values[v] = user.Slots[names[v]]
			}
			d = append(d, x)
		}
		if len(d) > 0 {
			all = append(all, d)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("read %s: there is no dialogue in it", path)
	}
	return all, nil
}

// generateDialogues makes dialogues whose texts have the lengths of real ones:
// a user's message has 40 bytes on average and a bot's 58, in a range from 5 to
// three times that. They are the same at each run.
func generateDialogues(n int) dialogues {
	random := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("a the to for in I you please want would like table two people tonight seven restaurant city " +
		"center near hotel train ticket morning evening what time is it how much does cost thanks yes no great book " +
		"find another one that sounds good address phone number have any with live music outdoor seating")
	text := func(mean int) string {
		want := 5 + int(float64(mean-5)*min(random.ExpFloat64(), 3))
		var b strings.Builder
		for b.Len() < want {
			if b.Len() > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(words[random.IntN(len(words))])
		}
		return b.String()[:want]
	}
	intents := []string{"FindRestaurant", "ReserveRestaurant", "SearchHotel", "GetTimes", "NONE"}
	all := make(dialogues, n)
	for i := range all {
		for range 5 + random.IntN(10) {
			all[i] = append(all[i], exchange{
				Text: text(40), Intent: intents[random.IntN(len(intents))],
				Values: [2]string{text(10), text(10)}, Reply: text(59),
			})
		}
	}
	return all
}
