package session

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestDecodeFillsWhatFitsAndNothingElse(t *testing.T) {
	t.Parallel()
	type place struct {
		City string `json:"city"`
		Days int8   `json:"days"`
	}
	list := Message{Content: []any{"a", "b"}}
	var texts []string
	if err := list.Decode(&texts); err != nil || len(texts) != 2 || texts[1] != "b" {
		t.Error(texts, err)
	}
	var p place
	if err := (Message{Content: map[string]any{"city": "Rome", "days": int64(3)}}).Decode(&p); err != nil || p != (place{"Rome", 3}) {
		t.Error(p, err)
	}
	var raw string
	if err := (Message{Content: "caf\xe9"}).Decode(&raw); err != nil || raw != "caf\xe9" {
		t.Errorf("%q %v", raw, err)
	}
	var b []byte
	content := []byte{0, 255}
	if err := (Message{Content: content}).Decode(&b); err != nil || string(b) != "\x00\xff" {
		t.Error(b, err)
	}
	if b[0] = 7; content[0] == 7 {
		t.Error("Decode shares the content's bytes")
	}
	p = place{"kept", 1}
	for _, m := range []Message{{Content: map[string]any{"city": "secret", "days": int64(700)}}, {Content: "secret"}, {Content: int64(7)}} {
		err := m.Decode(&p)
		if !errors.Is(err, ErrType) || p != (place{"kept", 1}) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v", p, err)
		}
	}
	for _, into := range []any{nil, 1, (*int)(nil)} {
		if err := list.Decode(into); !errors.Is(err, ErrType) {
			t.Errorf("into %T: %v", into, err)
		}
	}
}

func TestDecodeFillsEachKindOfValueWithACopy(t *testing.T) {
	t.Parallel()
	type place struct {
		City string   `json:"city"`
		Tags []string `json:"tags"`
		Raw  []byte   `json:"raw"`
	}
	now := time.Date(2025, 9, 16, 5, 20, 42, 123456789, time.UTC)
	whole := func() any {
		return map[string]any{"city": "Rome", "tags": []any{"a"}, "raw": []byte{1}}
	}
	for name, c := range map[string]struct{ content, want any }{
		"nil":            {nil, []int(nil)},
		"a bool":         {true, true},
		"an int":         {int64(3), 3},
		"a uint8":        {int64(3), uint8(3)},
		"a float":        {0.5, float32(0.5)},
		"a string":       {"hi", "hi"},
		"a message type": {"html", HTML},
		"bytes":          {[]byte{1}, []byte{1}},
		"a time":         {now, now},
		"a list":         {[]any{"a"}, []string{"a"}},
		"a list of any":  {[]any{[]byte{1}}, []any{[]byte{1}}},
		"an array":       {[]any{int64(1), int64(2)}, [2]int{1, 2}},
		"a map":          {whole(), whole()},
		"a typed map":    {map[string]any{"a": []any{int64(1)}}, map[string][]int{"a": {1}}},
		"a struct":       {whole(), place{"Rome", []string{"a"}, []byte{1}}},
		"a pointer":      {whole(), &place{"Rome", []string{"a"}, []byte{1}}},
		"its own type":   {place{City: "Rome"}, place{City: "Rome"}},
	} {
		m := Message{Content: c.content}
		into := reflect.New(reflect.TypeOf(c.want))
		if err := m.Decode(into.Interface()); err != nil || !reflect.DeepEqual(into.Elem().Interface(), c.want) {
			t.Errorf("%s: %v: %#v, want %#v", name, err, into.Elem(), c.want)
		}
	}
	m := Message{Content: whole()}
	var first, second, third map[string]any
	if err := errors.Join(m.Decode(&first), m.Decode(&second)); err != nil {
		t.Fatal(err)
	}
	first["raw"].([]byte)[0], first["tags"].([]any)[0] = 9, "spoilt"
	delete(first, "city")
	if err := m.Decode(&third); err != nil || !reflect.DeepEqual(m.Content, whole()) || !reflect.DeepEqual(second, whole()) || !reflect.DeepEqual(third, whole()) {
		t.Errorf("what Decode fills is shared: %v, %v, %v, %v", err, m.Content, second, third)
	}
	if err := (Message{Content: make(chan int)}).Decode(&third); !errors.Is(err, ErrInvalid) {
		t.Error("a content without an encoding:", err)
	}
}
