package stored

import (
	"encoding/json"
	"strings"

	"github.com/botsession/botsession/session"
)

// An actLine is what is stored of a session.Act behind its time. The ref is what
// Ref.String returns, because an id may be of any bytes.
type actLine struct {
	Ref    string `json:"ref"`
	Verb   string `json:"verb"`
	Object string `json:"object,omitempty"`
	By     string `json:"by"`
	Reason string `json:"reason,omitempty"`
}

// EncodeAct writes an act without its time, which the script adds: a line of JSON, which
// people can read, too.
func EncodeAct(a session.Act) string {
	ref := a.Ref.String()
	if a.Ref.ID == "" {
		ref = a.Ref.Bot
	}
	line, _ := json.Marshal(actLine{ref, a.Verb, a.Object, a.By, a.Reason})
	return string(line)
}

// ActBegins returns how the lines begin that EncodeAct writes of acts on ref, or on a bot
// if it has no ID.
func ActBegins(ref session.Ref) string {
	line := EncodeAct(session.Act{Ref: ref})
	return strings.TrimSuffix(line, `"verb":"","by":""}`)
}

// DecodeAct reads an element of a bucket's list log; lua/prelude/audit.lua shows its
// form. It returns [session.ErrCorrupt] for what is none.
func DecodeAct(b []byte) (a session.Act, err error) {
	at, rest, err := cut(b)
	if err != nil {
		return a, err
	}
	var line actLine
	if err := json.Unmarshal(rest, &line); err != nil {
		return a, corrupt("an act whose JSON cannot be read")
	}
	ref := session.Ref{Bot: line.Ref}
	if session.ValidBot(line.Ref) != nil {
		if ref, err = session.ParseRef(line.Ref); err != nil {
			return a, corrupt("an act on a session whose name cannot be read")
		}
	}
	return session.Act{Time: at, Ref: ref, Verb: line.Verb, Object: line.Object, By: line.By, Reason: line.Reason}, nil
}
