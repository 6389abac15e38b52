package main

import (
	"strings"
	"testing"
)

func TestSoak(t *testing.T) {
	t.Parallel()
	got := rawCommand(t, nil, "soak", "--for", "1s", "--limit", "8", "--lease", "300ms", "--seed", "7")
	if got.Code != 0 || !strings.Contains(got.Stdout, "round 1: ") || !strings.Contains(got.Stdout, "Clean: ") {
		t.Errorf("code %d\n%s\n%s", got.Code, got.Stdout, got.Err)
	}
	if got := rawCommand(t, nil, "soak", "--for", "0s"); got.Code != exitUsage {
		t.Errorf("a soak without a time: code %d, %s", got.Code, got.Err)
	}
}
