package stored

import (
	"fmt"

	"github.com/botsession/botsession/store/internal/ids"
)

// HandledLine returns the line of an event that was handled: see lua/prelude/ids.lua.
func HandledLine(forget int64, call ids.Call, token ids.Token, first int64, messages int) string {
	return fmt.Sprintf("d %d %s 0 %s %d %d", forget, call.Own(), token, first, first+int64(messages)-1)
}
