package call

import "testing"

func TestAMarkIsInTheSlotOfItsKey(t *testing.T) {
	for key, want := range map[string]string{
		"bs:{256.17.3f}:s:pizza/42": "bs:{256.17.3f}:ack",
		"bs:bots":                   "bs:ack:{bs:bots}",
	} {
		if mark := markKey(key); mark != want {
			t.Errorf("the mark of %s is %s, want %s", key, mark, want)
		}
	}
}
