//go:build unix

package main

import (
	"strings"
	"testing"
)

func TestDemoWithAFrozenReplica(t *testing.T) {
	t.Parallel()
	got := rawCommand(t, nil, "demo", "--kill", "1", "--freeze", "2", "--lease", "300ms", "--think", "50ms")
	if got.Code != 0 || strings.Count(got.Err, " frozen for 450ms") != 2 || !strings.Contains(got.Stdout, "replicas frozen") {
		t.Errorf("code %d\n%s\n%s", got.Code, got.Stdout, got.Err)
	}
}
