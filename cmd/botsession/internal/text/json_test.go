package text

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
)

func TestJSONHoldsNoControls(t *testing.T) {
	t.Parallel()
	in := map[string]any{"text": strings.TrimSuffix(hostile, "g\xffh") + "<&>\U000e0001é", "list": []any{math.NaN(), math.Inf(-1), 1.5}}
	var out bytes.Buffer
	if err := WriteJSON(&out, JSONableMap(in)); err != nil {
		t.Fatal(err)
	}
	line := strings.TrimSuffix(out.String(), "\n")
	if Clean(line) != line {
		t.Errorf("printed %q", line)
	}
	var back map[string]any
	if err := json.Unmarshal([]byte(line), &back); err != nil {
		t.Fatal(err)
	}
	if back["text"] != in["text"] {
		t.Errorf("read back %q, want %q", back["text"], in["text"])
	}
	if list := back["list"].([]any); list[0] != "NaN" || list[1] != "-Inf" || list[2] != 1.5 {
		t.Errorf("read back %v", list)
	}
}
