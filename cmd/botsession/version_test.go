package main

import (
	"encoding/json"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	t.Parallel()
	got := rawCommand(t, nil, "version")
	if got.Code != 0 || !strings.HasPrefix(got.Stdout, "botsession ") || strings.Count(got.Stdout, "\n") != 1 {
		t.Errorf("exit %d, %q", got.Code, got.Stdout)
	}
	var v version
	if err := json.Unmarshal([]byte(rawCommand(t, nil, "version", "--json").Stdout), &v); err != nil || v.Go != runtime.Version() {
		t.Errorf("--json gives %+v, %v", v, err)
	}
}

func TestVersionOfABuild(t *testing.T) {
	t.Parallel()
	suffix := " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
	info := &debug.BuildInfo{
		Main: debug.Module{Version: "v1.2.3"},
		Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "true"},
		},
	}
	for want, info := range map[string]*debug.BuildInfo{
		"botsession (unknown)" + suffix:                       nil,
		"botsession (devel)" + suffix:                         {Main: debug.Module{Version: "(devel)"}},
		"botsession v1.2.3 (0123456789ab, modified)" + suffix: info,
	} {
		if got := readVersion(info).String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
