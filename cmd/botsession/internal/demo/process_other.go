//go:build !unix

package demo

import (
	"errors"
	"os"
)

// CanFreeze is whether this system can stop a process and let it go on.
const CanFreeze = false

func stopProcess(*os.Process) error     { return errors.ErrUnsupported }
func continueProcess(*os.Process) error { return errors.ErrUnsupported }
