//go:build !linux

package redistest

import "os/exec"

// endWithParent does nothing here: only a test's cleanup ends its servers.
func endWithParent(*exec.Cmd) {}
