package demo

import (
	"bytes"
	"fmt"
	"testing"
)

func TestTail(t *testing.T) {
	t.Parallel()
	var through bytes.Buffer
	log := &tail{prefix: "replica 1: ", through: &through}
	if got := log.last(); got != "it said nothing" {
		t.Errorf("before it said anything: %q", got)
	}
	for i := range 1000 {
		fmt.Fprintf(log, "line %d\n", i)
	}
	fmt.Fprint(log, "error: no\x1b")
	fmt.Fprint(log, " way\nhint: none\n")
	if got := log.last(); got != "no\x1b way" {
		t.Errorf("last is %q", got)
	}
	if len(log.kept) > tailSize {
		t.Errorf("it keeps %d bytes", len(log.kept))
	}
	if !bytes.HasSuffix(through.Bytes(), []byte("replica 1: error: no\\x1b way\nreplica 1: hint: none\n")) {
		t.Errorf("it passes on %q", through.Bytes()[through.Len()-80:])
	}
}
