package stored

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/botsession/botsession/codec"
	"github.com/botsession/botsession/session"
	"github.com/google/go-cmp/cmp"
)

var someRef = session.Ref{Bot: "weather", ID: "ada"}

// pairsOf lists a hash as HGETALL does, in some order.
func pairsOf(fields map[string]string) []string {
	var pairs []string
	for field, value := range fields {
		pairs = append(pairs, field, value)
	}
	return pairs
}

// The least that a session's record can say.
const leastRecord = "free 0 0 - 0 0 0 0 0 0 0 0 0 0 0 | 2 1 0 0 - 0 1 0 0 0 0 0 0 0"

// wholeHash is a hash with every field in it.
func wholeHash(t testing.TB, c codec.Codec) map[string]string {
	t.Helper()
	message := "will it rain in Rome?"
	set, del, err := Fields(c, session.Change{
		Message: &message, SetIntent: true, Intent: someIntent(), File: &session.File{Name: "map.png", Type: "image/png", Size: 1500},
		Set: map[string]any{"city": "Rome", "visits": 3, "since": instant, "nothing": nil},
	})
	if err != nil || len(del) > 0 {
		t.Fatal(del, err)
	}
	fields := map[string]string{
		FieldRecord: "event 1758000042000123 0 bot#7f9c#41 1758000072000 1 312 0 0 8 12 6 1758000042000 1760592042000 12345 | " +
			"2 1 1758000000000 1760595642000 2592000000 1 1 1758003600000 1758003600001 0 0 0 0 0",
		FieldRetry: "2 1 3 1758000050000 1757999000000 1 2 4 1758000060000 1758000000000 0 0", FieldError: "timeout", FieldReplyError: "502",
		FieldState: "weather", FieldPlatform: "telegram", FieldUser: "ada",
	}
	for i := 0; i < len(set); i += 2 {
		fields[set[i]] = set[i+1]
	}
	return fields
}

func someIntent() *session.Intent {
	return &session.Intent{Name: "ask_forecast", Score: 0.875, Sentence: "will it rain in Rome?", Params: []session.Param{{Name: "city", Value: "Rome"}}}
}

func wholeSnapshot() session.Snapshot {
	return session.Snapshot{
		Ref: someRef, Life: 1, Version: 8, State: "weather", Platform: "telegram", User: "ada", Message: "will it rain in Rome?",
		Intent: someIntent(), File: &session.File{Name: "map.png", Type: "image/png", Size: 1500},
		Flags: map[string]bool{session.FlagIntent: true, session.FlagFile: true},
		Data:  map[string]any{"city": "Rome", "visits": int64(3), "since": instant, "nothing": nil}, Seq: 12,
		Created: ms(1758000000000), Active: ms(1758000042000), Expires: ms(1760592042000),
	}
}

func wholeStatus() session.Status {
	return session.Status{
		Ref: someRef, State: "weather", Platform: "telegram", User: "ada", Version: 8,
		Lease:   session.Lease{Holder: "bot#7f9c", Work: session.WorkEvent, Token: "1758000042000123", Since: time.UnixMilli(1758000042000).UTC(), Until: ms(1758000072000)},
		Event:   session.Retry{Failures: 2, Crashes: 1, HandedBack: 3, At: ms(1758000050000), Since: ms(1757999000000), Error: "timeout"},
		Reply:   session.Retry{Failures: 1, Crashes: 2, HandedBack: 4, At: ms(1758000060000), Since: ms(1758000000000), Error: "502"},
		Created: ms(1758000000000), Active: ms(1758000042000), Expires: ms(1760592042000),
	}
}

func ms(n int64) time.Time { return time.UnixMilli(n).UTC() }

func mustRead(t testing.TB, fields map[string]string) *Record {
	t.Helper()
	r, err := ReadRecord(someRef, pairsOf(fields))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRecord(t *testing.T) {
	t.Parallel()
	forBoth(t, func(t *testing.T, c codec.Codec) {
		r := mustRead(t, wholeHash(t, c))
		t.Run("the snapshot has everything", func(t *testing.T) {
			got, err := r.Snapshot()
			if diff := cmp.Diff(wholeSnapshot(), got); err != nil || diff != "" {
				t.Error(err, diff)
			}
		})
		t.Run("the status has all that the hash knows", func(t *testing.T) {
			if diff := cmp.Diff(wholeStatus(), r.Status()); diff != "" {
				t.Error(diff)
			}
		})
		t.Run("the status needs only its own fields", func(t *testing.T) {
			fields, own := wholeHash(t, c), map[string]string{}
			for _, field := range StatusFields {
				own[field] = fields[field]
			}
			few := mustRead(t, own)
			if diff := cmp.Diff(r.Status(), few.Status()); diff != "" {
				t.Error(diff)
			}
			if few.Seq() != r.Seq() || few.Turns() != r.Turns() || few.Ended() != r.Ended() {
				t.Errorf("%+v", few)
			}
		})
		t.Run("the parts are read one by one", func(t *testing.T) {
			if r.Ref() != someRef || r.Life() != 1 || r.Version() != 8 || r.Seq() != 12 || r.Turns() != 6 || r.State() != "weather" ||
				r.Platform() != "telegram" || r.User() != "ada" || !r.Ended() {
				t.Errorf("%+v", r)
			}
			if !r.Flag(session.FlagIntent) || r.Flag("other") {
				t.Error("flags")
			}
			if want := []string{"city", "nothing", "since", "visits"}; !slices.Equal(r.Keys(), want) {
				t.Error(r.Keys())
			}
			value, found := r.Value("visits")
			var visits int8
			if err := codec.Decode(value, &visits); !found || err != nil || visits != 3 {
				t.Error(visits, found, err)
			}
			if value, found := r.Value("none"); found || value != nil {
				t.Error(value, found)
			}
		})
	})
	t.Run("the least hash is a session", func(t *testing.T) {
		t.Parallel()
		r := mustRead(t, map[string]string{FieldRecord: leastRecord, FieldState: "start"})
		got, err := r.Snapshot()
		want := session.Snapshot{Ref: someRef, Life: 1, State: "start", Flags: map[string]bool{}, Data: map[string]any{}}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Error(err, diff)
		}
		if diff := cmp.Diff(session.Status{Ref: someRef, State: "start", Lease: session.Lease{Token: "0"}}, r.Status()); diff != "" || r.Turns() != 0 || r.Ended() || r.Held() {
			t.Error(diff, r.Turns(), r.Ended())
		}
	})
}

func TestRecordThatCannotBeRead(t *testing.T) {
	t.Parallel()
	corruptField := func(t *testing.T, pairs []string, field string) {
		t.Helper()
		_, err := ReadRecord(someRef, pairs)
		var bad *session.CorruptError
		if !errors.As(err, &bad) || bad.Field != field || bad.Ref != someRef {
			t.Errorf("field %q: %v", field, err)
		}
	}
	t.Run("no fields are no session", func(t *testing.T) {
		t.Parallel()
		_, err := ReadRecord(someRef, nil)
		wantErr(t, err, session.ErrNotFound, "weather/ada")
	})
	t.Run("a newer layout is refused by its number", func(t *testing.T) {
		t.Parallel()
		_, err := ReadRecord(someRef, []string{FieldRecord, "free 0 | 7 whatever", "anything", "else"})
		wantErr(t, err, session.ErrNewerLayout, "weather/ada", "7", "2")
	})
	t.Run("a field without a value is corrupt", func(t *testing.T) {
		t.Parallel()
		corruptField(t, append(pairsOf(wholeHash(t, codec.Msgpack)), "odd"), "odd")
	})
	for _, field := range []string{FieldRecord, FieldState} {
		t.Run("a hash without "+field+" is corrupt", func(t *testing.T) {
			t.Parallel()
			fields := wholeHash(t, codec.Msgpack)
			delete(fields, field)
			corruptField(t, pairsOf(fields), field)
		})
	}
	words := map[string][]int{FieldRecord: {2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29}, FieldRetry: {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}}
	for field, numbers := range words {
		for _, n := range numbers {
			for _, text := range []string{"x", "", "-1", "1.5", "1e3", "99999999999999999999", " 1"} {
				t.Run(fmt.Sprintf("word %d of %s cannot be %q", n, field, text), func(t *testing.T) {
					t.Parallel()
					fields := wholeHash(t, codec.Msgpack)
					word := strings.Split(fields[field], " ")
					word[n] = text
					fields[field] = strings.Join(word, " ")
					corruptField(t, pairsOf(fields), field)
				})
			}
		}
		for _, change := range []func(string) string{
			func(s string) string { return s + " 1" },
			func(s string) string { return s[:strings.LastIndexByte(s, ' ')] },
		} {
			fields := wholeHash(t, codec.Msgpack)
			fields[field] = change(fields[field])
			t.Run(fmt.Sprintf("%s cannot be %q", field, fields[field]), func(t *testing.T) {
				t.Parallel()
				corruptField(t, pairsOf(fields), field)
			})
		}
	}
}

func TestSnapshotOfADamagedHash(t *testing.T) {
	t.Parallel()
	damages := map[string]struct {
		lose func(*session.Snapshot)
	}{
		FieldMessage:           {func(s *session.Snapshot) { s.Message = "" }},
		FieldIntent:            {func(s *session.Snapshot) { s.Intent = nil }},
		FieldFile:              {func(s *session.Snapshot) { s.File = nil }},
		PrefixData + "city":    {func(s *session.Snapshot) { delete(s.Data, "city") }},
		PrefixData + "visits":  {func(s *session.Snapshot) { delete(s.Data, "visits") }},
		PrefixData + "nothing": {func(s *session.Snapshot) { delete(s.Data, "nothing") }},
	}
	forBoth(t, func(t *testing.T, c codec.Codec) {
		all, allWant := wholeHash(t, c), wholeSnapshot()
		for field, damage := range damages {
			for _, text := range []string{"", "x", "m\xc1", "m\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "j[", `j"a"b`} {
				t.Run(field+" is lost and the rest is kept", func(t *testing.T) {
					fields, want := wholeHash(t, c), wholeSnapshot()
					fields[field] = text
					damage.lose(&want)
					got, err := mustRead(t, fields).Snapshot()
					var bad *session.CorruptError
					if !errors.As(err, &bad) || bad.Field != field || bad.Ref != someRef {
						t.Errorf("%q: %v", text, err)
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Error(diff)
					}
				})
			}
			all[field] = "broken"
			damage.lose(&allWant)
		}
		t.Run("every damage is told", func(t *testing.T) {
			got, err := mustRead(t, all).Snapshot()
			for field := range damages {
				wantErr(t, err, session.ErrCorrupt, `"`+field+`"`)
			}
			if diff := cmp.Diff(allWant, got); diff != "" {
				t.Error(diff)
			}
		})
		t.Run("an integer over int64 is corrupt for an any only", func(t *testing.T) {
			fields := wholeHash(t, c)
			fields[PrefixData+"wide"] = string(mustEncode(t, c, uint64(1)<<63))
			r := mustRead(t, fields)
			_, err := r.Snapshot()
			wantErr(t, err, session.ErrCorrupt, "d:wide")
			var n uint64
			value, _ := r.Value("wide")
			if err := codec.Decode(value, &n); err != nil || n != 1<<63 {
				t.Error(n, err)
			}
		})
	})
}

func TestFieldNamesAreDistinct(t *testing.T) {
	t.Parallel()
	all := wholeHash(t, codec.Msgpack)
	if n := len(slices.Collect(maps.Keys(all))); n != 7+3+2+4 {
		t.Errorf("%d fields", n)
	}
	for _, field := range StatusFields {
		if _, ok := all[field]; !ok {
			t.Errorf("the whole hash lacks %q", field)
		}
	}
}

func TestAnOlderLayoutIsUnsupportedAndANewerOneIsSaidToBeNewer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		stored, known int64
		want          error
	}{{1, 2, session.ErrUnsupported}, {2, 2, nil}, {3, 2, session.ErrNewerLayout}, {0, 2, nil}, {-1, 2, nil}} {
		if err := OtherLayout(test.stored, test.known); !errors.Is(err, test.want) || test.want == nil && err != nil {
			t.Errorf("layout %d where %d is known: %v, want %v", test.stored, test.known, err, test.want)
		}
	}
}
