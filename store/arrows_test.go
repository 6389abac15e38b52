package store_test

import (
	"encoding/json"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Who may import whom. Nothing else of this module, and of the outside only
// what is named.
func TestPackagesImportOnlyWhatTheyMay(t *testing.T) {
	const module = "github.com/botsession/botsession/"
	const redis, msgpack = "github.com/redis/go-redis/v9", "github.com/vmihailenco/msgpack/v5"
	may := map[string][]string{
		"session":                  {module + "codec"},
		"codec":                    {msgpack},
		"lua":                      {},
		"store":                    {module + "session", module + "codec", module + "lua", module + "store/internal/call", module + "store/internal/causes", module + "store/internal/ids", module + "store/internal/stored", module + "store/internal/warm", redis},
		"store/embedded":           {module + "store", "github.com/alicebob/miniredis/v2"},
		"store/storetest":          {module + "store", module + "session", module + "codec", module + "lua", module + "store/internal/bounded", module + "store/internal/warm", redis, "github.com/alicebob/miniredis/v2"},
		"store/internal/redistest": {redis},
		"store/internal/bounded":   {},
		"store/internal/call":      {module + "lua", module + "session", module + "store/internal/causes", module + "store/internal/ids", redis},
		"store/internal/causes":    {},
		"store/internal/warm":      {},
		"store/internal/ids":       {},
		"store/internal/stored":    {module + "session", module + "codec", module + "store/internal/causes", module + "store/internal/ids"},
		"store/internal/faultnet":  {},

		"cmd/botsession":                  {module + "cmd/botsession/internal/demo", module + "cmd/botsession/internal/metrics", module + "cmd/botsession/internal/text", module + "cmd/internal/crowd", module + "store", module + "session", module + "codec", redis, "github.com/dustin/go-humanize", "github.com/spf13/cobra"},
		"cmd/botsession/internal/demo":    {module + "cmd/botsession/internal/metrics", module + "cmd/botsession/internal/text", module + "store", module + "store/embedded", module + "session", "github.com/HdrHistogram/hdrhistogram-go", "github.com/dustin/go-humanize", "golang.org/x/sync"},
		"cmd/botsession/internal/metrics": {module + "store", module + "session"},
		"cmd/internal/crowd":              {module + "store", module + "session", "golang.org/x/sync"},
		"cmd/botsession/internal/text":    {"github.com/dustin/go-humanize", "github.com/jedib0t/go-pretty/v6", "github.com/schollz/progressbar/v3", "golang.org/x/term"},
	}
	list := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	list.Dir = ".."
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var pkg struct {
			ImportPath string
			Imports    []string
		}
		if err := decoder.Decode(&pkg); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(pkg.ImportPath, module)
		allowed, known := may[name]
		if !known {
			t.Errorf("package %s is new: say here what it may import", name)
			continue
		}
		seen++
		for _, path := range pkg.Imports {
			outside := strings.Contains(strings.Split(path, "/")[0], ".")
			if outside && !slices.Contains(allowed, "*") && !slices.ContainsFunc(allowed, within(path)) {
				t.Errorf("package %s imports %s", name, path)
			}
		}
	}
	if seen != len(may) {
		t.Errorf("%d of %d packages are there", seen, len(may))
	}
}

// Package store hands a client to package call, which talks to the servers. Of
// go-redis it knows what a user sees, and the watchers' subscription.
func TestPackageStoreKnowsGoRedisWhereItTakesAClient(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files found: %v", err)
	}
	var know []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range file.Imports {
			if strings.HasPrefix(spec.Path.Value, `"github.com/redis/go-redis/`) && !slices.Contains(know, name) {
				know = append(know, name)
			}
		}
	}
	if want := []string{"store.go", "url.go", "urlparams.go", "watch.go"}; !slices.Equal(know, want) {
		t.Errorf("go-redis is known in %v, and may be in %v", know, want)
	}
}

// within tells of a module, or a package of ours, whether path belongs to it.
func within(path string) func(string) bool {
	return func(allowed string) bool {
		return path == allowed || strings.HasPrefix(path, allowed+"/") && !strings.Contains(allowed, "botsession")
	}
}
