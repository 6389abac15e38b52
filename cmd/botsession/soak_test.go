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

func TestDemoWithAFrozenReplica(t *testing.T) {
	t.Parallel()
	if !canFreeze {
		t.Skip("this system cannot stop a process and let it go on")
	}
	got := rawCommand(t, nil, "demo", "--kill", "1", "--freeze", "2", "--lease", "300ms", "--think", "50ms")
	if got.Code != 0 || strings.Count(got.Err, " frozen for 450ms") != 2 || !strings.Contains(got.Stdout, "replicas frozen") {
		t.Errorf("code %d\n%s\n%s", got.Code, got.Stdout, got.Err)
	}
}
