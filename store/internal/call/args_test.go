package call

import (
	"slices"
	"testing"

	"github.com/botsession/botsession/lua"
)

func TestArgumentsAreGivenByTheNamesInTheHeader(t *testing.T) {
	got := Args(lua.Create, []string{"id", "1", "bot", "b", "state", "start", "platform", "web", "user", "u", "own", "", "ttl", "0"}, []string{"d:a", "x"}, []string{"d:b", "y"})
	if want := []string{"1", "b", "start", "web", "u", "", "0", "d:a", "x", "d:b", "y"}; !slices.Equal(got, want) {
		t.Errorf("the arguments are %q, want %q", got, want)
	}
	if got := Args(lua.Tally, nil); len(got) != 0 {
		t.Errorf("the arguments are %q, want none", got)
	}
}

func TestArgumentsThatTheHeaderDoesNotHavePanic(t *testing.T) {
	for name, args := range map[string]func(){
		"in another order": func() { Args(lua.Renew, []string{"id", "i", "lease", "1", "token", "2"}) },
		"too few":          func() { Args(lua.Renew, []string{"id", "i", "token", "2"}) },
		"too many":         func() { Args(lua.Renew, []string{"id", "i", "token", "2", "lease", "1", "bot", "b"}) },
		"without a name":   func() { Args(lua.Renew, []string{"id", "i", "token", "2", "lease", "1"}, []string{"x"}) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("they were taken")
				}
			}()
			args()
		})
	}
}
