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
