package causes

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestJoinNamesEachCauseInOneLine(t *testing.T) {
	t.Parallel()
	one, two := errors.New("one"), errors.New("two")
	if Join() != nil || Join(nil, nil) != nil || Join(nil, one) != one {
		t.Error("none gives nil, and the only one itself")
	}
	both := Join(one, nil, two)
	if both.Error() != "one; two" || !errors.Is(both, one) || !errors.Is(both, two) {
		t.Error(both)
	}
	var many []error
	for i := range 13 {
		many = append(many, fmt.Errorf("e%d", i))
	}
	all := Join(many...)
	if text := all.Error(); !strings.HasSuffix(text, "e9; and 3 more") || !errors.Is(all, many[12]) {
		t.Error(text)
	}
}
