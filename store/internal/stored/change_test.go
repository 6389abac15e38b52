package stored

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
)

func TestFields(t *testing.T) {
	t.Parallel()
	text := "hi"
	forBoth(t, func(t *testing.T, c codec.Codec) {
		enc := func(v any) string { return string(mustEncode(t, c, v)) }
		cases := map[string]struct {
			ch       session.Change
			set, del []string
		}{
			"nothing does nothing": {},
			"what is not in the hash is left out": {ch: session.Change{
				Reset: session.DropChat, From: "a", Moves: []string{"b"}, Chat: []session.Entry{{}}, TTL: new(time.Duration)}},
			"data is sorted":                   {ch: session.Change{Set: map[string]any{"b": 1, "a": "x", "c": nil}}, set: []string{"d:a", enc("x"), "d:b", enc(1), "d:c", enc(nil)}},
			"an Encoded is taken as it is":     {ch: session.Change{Set: map[string]any{"a": codec.Encoded("j 1 ")}}, set: []string{"d:a", "j 1 "}},
			"deletions are sorted, once each":  {ch: session.Change{Delete: []string{"b", "a", "b"}}, del: []string{"d:a", "d:b"}},
			"a message is encoded":             {ch: session.Change{Message: &text}, set: []string{"message", enc("hi")}},
			"a nil intent raises its flag":     {ch: session.Change{SetIntent: true}, set: []string{"f:predicted_intent", "1", "intent", enc(nil)}},
			"an intent alone is not taken":     {ch: session.Change{Intent: someIntent()}},
			"a file raises its flag":           {ch: session.Change{File: &session.File{Name: "a", Data: []byte("12")}}, set: []string{"f:file", "1", "file", enc([]any{"a", "", 2})}},
			"flags go up and down":             {ch: session.Change{Flags: map[string]bool{"b": true, "a": false}}, set: []string{"f:b", "1"}, del: []string{"f:a"}},
			"a flag overrides the intent's":    {ch: session.Change{SetIntent: true, Flags: map[string]bool{session.FlagIntent: false}}, set: []string{"intent", enc(nil)}, del: []string{"f:predicted_intent"}},
			"a flag and a key may share names": {ch: session.Change{Flags: map[string]bool{"a": true}, Delete: []string{"a"}}, set: []string{"f:a", "1"}, del: []string{"d:a"}},
		}
		for name, tc := range cases {
			t.Run(name, func(t *testing.T) {
				set, del, err := Fields(c, tc.ch)
				if err != nil || !slices.Equal(set, tc.set) || !slices.Equal(del, tc.del) {
					t.Errorf("%q %q %v, want %q %q", set, del, err, tc.set, tc.del)
				}
			})
		}
		long := strings.Repeat("k", session.MaxKey+1)
		refused := map[string]struct {
			ch   session.Change
			says string
		}{
			"a value without an encoding":     {session.Change{Set: map[string]any{"ok": 1, "k": make(chan int)}}, `private data "k"`},
			"an intent without an encoding":   {session.Change{SetIntent: true, Intent: &session.Intent{Params: []session.Param{{Value: func() {}}}}}, "intent: "},
			"a key that is set and deleted":   {session.Change{Set: map[string]any{"k": 1}, Delete: []string{"k"}}, `private data "k"`},
			"an empty key to set":             {session.Change{Set: map[string]any{"": 1}}, "empty"},
			"a long key to set":               {session.Change{Set: map[string]any{long: 1}}, "257"},
			"an empty key to delete":          {session.Change{Delete: []string{""}}, "empty"},
			"a long key to delete":            {session.Change{Delete: []string{long}}, "257"},
			"an empty flag":                   {session.Change{Flags: map[string]bool{"": true}}, "flag"},
			"a long flag":                     {session.Change{Flags: map[string]bool{long: false}}, "flag"},
			"the first of two faults, always": {session.Change{Set: map[string]any{"b": func() {}, "a": func() {}}}, `"a"`},
		}
		for name, tc := range refused {
			t.Run(name+" is refused", func(t *testing.T) {
				set, del, err := Fields(c, tc.ch)
				wantErr(t, err, session.ErrInvalid, tc.says)
				if set != nil || del != nil {
					t.Error(set, del)
				}
			})
		}
	})
	t.Run("a message that JSON would alter is refused", func(t *testing.T) {
		t.Parallel()
		bad := "\xff"
		_, _, err := Fields(codec.JSON, session.Change{Message: &bad})
		wantErr(t, err, session.ErrInvalid, "message: ")
	})
}
