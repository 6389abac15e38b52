package main

import (
	"strings"
	"testing"
)

func TestCompletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pizza(t)
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"ls", ""}, "pizza\n:4\n"},
		{[]string{"show", ""}, "pizza/\n:6\n"},
		{[]string{"history", "pizza/"}, "pizza/42\n:4\n"},
	} {
		got := rawCommand(t, w.env, append([]string{"__complete"}, test.args...)...)
		if got.Code != 0 || got.Stdout != test.want {
			t.Errorf("%q: exit %d, %q, want %q (%s)", test.args, got.Code, got.Stdout, test.want, got.Err)
		}
	}
	if got := rawCommand(t, nil, "completion", "bash"); got.Code != 0 || !strings.Contains(got.Stdout, "complete") {
		t.Errorf("completion bash: exit %d, %q", got.Code, got.Err)
	}
}
