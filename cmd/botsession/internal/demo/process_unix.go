//go:build unix

package demo

import (
	"os"
	"syscall"
)

// CanFreeze is whether this system can stop a process and let it go on.
const CanFreeze = true

func stopProcess(p *os.Process) error     { return p.Signal(syscall.SIGSTOP) }
func continueProcess(p *os.Process) error { return p.Signal(syscall.SIGCONT) }
