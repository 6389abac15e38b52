package codec_test

import (
	"errors"
	"fmt"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
)

func Example() {
	type trip struct {
		City string `json:"city"`
		Days int8   `json:"days"`
	}
	for _, c := range []codec.Codec{codec.Msgpack, codec.JSON} {
		b, err := c.Encode(trip{City: "Rome", Days: 3})
		if err != nil {
			panic(err)
		}
		fmt.Printf("%q\n", b)

		var back trip
		if err := codec.Decode(b, &back); err != nil {
			panic(err)
		}
		fmt.Println(back)
	}
	// Output:
	// "m\x82\xa4city\xa4Rome\xa4days\x03"
	// {Rome 3}
	// "j{\"city\":\"Rome\",\"days\":3}"
	// {Rome 3}
}

// What does not fit is an error that says where, never another number.
func ExampleDecode() {
	b, err := codec.JSON.Encode(map[string]any{"orders": []any{map[string]any{"count": 700}}})
	if err != nil {
		panic(err)
	}
	var basket struct {
		Orders []struct {
			Count int8 `json:"count"`
		} `json:"orders"`
	}
	err = codec.Decode(b, &basket)
	fmt.Println(errors.Is(err, session.ErrType))
	fmt.Println(err)
	// Output:
	// true
	// wrong type: at .orders[0].count: stored is an integer, asked for is int8
}

func ExampleCodec_EncodeMessage() {
	b, err := codec.JSON.EncodeMessage(session.Message{From: session.FromBot, Content: "Which city?"})
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s\n", b)

	m, err := codec.DecodeMessage(b)
	fmt.Println(m.From, m.Type, m.Content, err)
	// Output:
	// j[1,"Which city?"]
	// bot str Which city? <nil>
}

func ExampleCodec_Fields() {
	set, del, err := codec.JSON.Fields(session.Change{
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
	r, err := codec.ReadRecord(session.Ref{Bot: "weather", ID: "ada"}, []string{
		"head", "1 1 8 0 0 0 0 0 0 - 0 1", "lease", "0 0 free - 0 0 0 0 0", "state", "weather", "d:city", `j"Rome"`, "d:days", "j{",
	})
	if err != nil {
		panic(err)
	}
	s, err := r.Snapshot()
	fmt.Println(s.State, s.Data)
	fmt.Println(err)
	// Output:
	// weather map[city:Rome]
	// corrupt: session weather/ada: field "d:days": unexpected EOF
}
