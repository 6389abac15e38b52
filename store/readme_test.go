package store_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTheProgramInTheREADMEPrintsWhatTheREADMESays(t *testing.T) {
	t.Parallel()
	block := regexp.MustCompile("(?s)```go\n(package main\n.*?)```\n\nIt prints `([^`]+)` and `([^`]+)`").FindStringSubmatch(readme(t))
	if block == nil {
		t.Fatal("the README has no program, or does not say what it prints")
	}
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(block[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	run := exec.Command("go", "run", file)
	run.Stderr = t.Output() // the embedded store warns there that it keeps nothing
	out, err := run.Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := block[2] + "\n" + block[3] + "\n"; string(out) != want {
		t.Errorf("it printed %q, the README says %q", out, want)
	}
	if formatted, err := exec.Command("gofmt", "-l", file).CombinedOutput(); err != nil || len(formatted) > 0 {
		t.Errorf("it is not formatted: %s %v", formatted, err)
	}
}

func TestTheLinksInTheREADMELeadSomewhere(t *testing.T) {
	links := regexp.MustCompile(`\]\(([^)#]+)`).FindAllStringSubmatch(readme(t), -1)
	if len(links) == 0 {
		t.Fatal("no links found")
	}
	for _, link := range links {
		if strings.Contains(link[1], "://") {
			continue
		}
		if _, err := os.Stat(filepath.Join("..", link[1])); err != nil {
			t.Errorf("%s: %v", link[1], err)
		}
	}
}

// The guarantees name the tests that attack them: those must be there.
func TestTheTestsNamedInTheDocumentationExist(t *testing.T) {
	tests := map[string]bool{}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(text), -1) {
			tests[m[1]] = true
		}
	}
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for where, text := range map[string]string{"doc.go": string(doc), "the README": readme(t)} {
		named := regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(text, -1)
		if len(named) == 0 {
			t.Errorf("%s names no test", where)
		}
		for _, name := range named {
			if !tests[name] {
				t.Errorf("%s names %s, which is not there", where, name)
			}
		}
	}
}
