package redistest

import (
	"os/exec"
	"syscall"
)

// endWithParent has the system kill the process when this one ends, however
// that happens: a panic or a time-out of the test runs no cleanup.
func endWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
