package stored_test

import (
	"fmt"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/stored"
)

func ExampleEncodeMessage() {
	b, err := stored.EncodeMessage(codec.JSON, session.Message{From: session.FromBot, Content: "Which city?"})
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s\n", b)

	m, err := stored.DecodeMessage(b)
	fmt.Println(m.From, m.Type, m.Content, err)
	// Output:
	// j[1,"Which city?"]
	// bot str Which city? <nil>
}

func ExampleFields() {
	set, del, err := stored.Fields(codec.JSON, session.Change{
		SetIntent: true,
		Intent:    &session.Intent{Name: "bye", Score: 0.9},
		Set:       map[string]any{"city": "Rome"},
		Delete:    []string{"days"},
	})
	for i := 0; i < len(set); i += 2 {
		fmt.Println(set[i], "=", set[i+1])
	}
	fmt.Println(del, err)
	// Output:
	// d:city = j"Rome"
	// f:predicted_intent = 1
	// intent = j["bye",0.9,"",null]
	// [d:days] <nil>
}

// A damaged value costs that value only.
func ExampleRecord_Snapshot() {
	r, err := stored.ReadRecord(session.Ref{Bot: "weather", ID: "ada"}, []string{
		"rec", "free 0 0 - 0 0 0 0 0 8 0 0 0 0 0 | 2 1 0 0 - 0 1 0 0 0 0 0 0 0", "state", "weather", "d:city", `j"Rome"`, "d:days", "j{",
	})
	if err != nil {
		panic(err)
	}
	s, err := r.Snapshot()
	fmt.Println(s.State, s.Data)
	fmt.Println(err)
	// Output:
	// weather map[city:Rome]
	// corrupt: session weather/ada: field "d:days": JSON that ends too early
}
