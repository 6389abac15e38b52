package stored

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/botsession/botsession/codec"
)

// inHand is a session with an event in hand.
func inHand(t *testing.T) *Record {
	fields := wholeHash(t, codec.Msgpack)
	fields[FieldRecord] = "event 1758000042000123 1758003600000 bot-7f9c#41 1758000072000 1 96 0 0 8 12 6 1758000042000 1760592042000 12345 | " +
		"2 1758000000000123 1758000000000 1762492800000 - 0 1758000000000123 1758003600000 1758259242000 0 0 0 0 0"
	delete(fields, FieldRetry)
	return mustRead(t, fields)
}

const month = 30 * 86_400_000

var someEnd = Ended{At: 1758000043000, Changed: true, Messages: 2, TTL: month, Set: []string{FieldState, "other", "d:new", "m\x01"}}

func TestTheRecordAfterATurn(t *testing.T) {
	t.Parallel()
	r := inHand(t)
	for name, c := range map[string]struct {
		replies int
		want    string
	}{
		"free":                  {0, "free 1758000042000123 1758003600000 - 0 0 0 0 0 9 14 7 1758000043000 1760592043000 PLACE | "},
		"held, for its replies": {1, "reply 1758000042000123 0 bot-7f9c#41 1758000073000 0 0 1 70 9 14 7 1758000043000 1760592043000 PLACE | "},
	} {
		t.Run(name, func(t *testing.T) {
			end := someEnd
			if end.Replies = c.replies; c.replies > 0 {
				end.ReplyBytes, end.Lease = 70, 30_000
			}
			if !r.InHand(end, 1758003600000) {
				t.Fatal("its turn is not one that ends so")
			}
			after := r.After(end)
			_, behind, _ := strings.Cut(r.Text(), " | ")
			want := strings.Replace(c.want, "PLACE", fmt.Sprint(Place("other", end.At)), 1) + behind
			if diff := cmp.Diff(want, after.Text()); diff != "" {
				t.Error(diff)
			}
			again, err := r.With(after.Text())
			if err != nil || again.Version() != after.Version() || again.Place() != after.Place() {
				t.Error("it reads as another:", err)
			}
			if after.State() != "other" || !after.Has("d:new") || r.State() == "other" || r.Has("d:new") {
				t.Error("the fields are not those of the two moments")
			}
			sent, all := after.Sent(1)
			if all != (c.replies == 1) {
				t.Errorf("all of one reply is sent: %t", all)
			}
			if all && !strings.HasPrefix(sent.Text(), "free 1758000042000123 1758003600000 - 0 0 0 0 0 9 14 7 ") {
				t.Errorf("when it is sent: %s", sent.Text())
			}
		})
	}
}

// What the general scripts would look at, and commit does not.
func TestATurnIsOneForSettle(t *testing.T) {
	t.Parallel()
	words := map[string]struct {
		word int
		by   string
	}{
		"another event waits": {5, "2"}, "nothing waits": {5, "0"}, "a reply is unsent": {7, "1"}, "it is held for something else": {0, "update"},
		"it was active later": {12, "1758000043001"}, "it would expire later": {13, "1760592043001"}, "it never expires": {13, "0"},
		"Redis would drop it too early": {19, "1758000043000"}, "Redis would never drop it": {19, "0"}, "its own turn has ended it": {21, "1"},
		"it is paused": {26, "1"}, "it is listed as waiting": {25, "1"}, "the ids are not kept long enough": {24, "1758003599999"},
		"it lives for a week of its own": {20, "604800000"},
	}
	r := inHand(t)
	for name, c := range words {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := strings.Fields(r.Text())
			if all[c.word] == c.by {
				t.Fatalf("word %d is %s already", c.word, c.by)
			}
			all[c.word] = c.by
			other, err := r.With(strings.Join(all, " "))
			if err != nil {
				t.Fatal(err)
			}
			if other.InHand(someEnd, 1758003600000) {
				t.Errorf("%s ends by commit", other.Text())
			}
		})
	}
}

// What the first lines of sent would leave as it is, and the rest of it does not.
func TestRepliesThatAreNotAllThereIsAreForTheGeneralLines(t *testing.T) {
	t.Parallel()
	end := someEnd
	end.Replies, end.ReplyBytes, end.Lease = 1, 70, 30_000
	r := inHand(t).After(end)
	for name, c := range map[string]struct {
		word int
		by   string
	}{
		"it is held for something else": {0, "event"}, "an event waits": {5, "1"}, "another reply is unsent": {7, "2"},
		"its own turn has ended it": {21, "1"}, "it is listed as waiting": {25, "1"}, "it is paused": {26, "1"},
	} {
		all := strings.Fields(r.Text())
		all[c.word] = c.by
		other, err := r.With(strings.Join(all, " "))
		if err != nil {
			t.Fatal(err)
		}
		if _, all := other.Sent(1); all {
			t.Errorf("%s: %s is free once one reply is sent", name, other.Text())
		}
	}
	if _, all := r.Sent(1); !all {
		t.Errorf("%s is not free once its reply is sent", r.Text())
	}
}
