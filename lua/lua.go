// Package lua has the scripts that read and write sessions on the server. Only
// package store runs them.
//
// Each script is a file with a verb as its name: commit.lua ends a turn. Its
// header says what it does, and names its inputs and replies:
//
//	-- USES   the files of prelude/ that are put before it, each of use to it or to one behind; those behind a bar are put where its text says so
//	-- KEYS   the keys that it reads or writes, by their names in package store
//	-- ARGV   its arguments
//	-- WRITES whether it writes: no; yes; or losable, if the next call makes up for a write that is lost
//	-- FINAL  if it writes, the statuses that an earlier attempt of the same call, still on its way, cannot change: all, or these
//	-- REPLY  its replies: a status, the server's time in ms, and what follows
//	-- NEXT   what next in a reply may be: a word that says what to do, and what follows
//
// They are more than comments. Each name of KEYS and ARGV becomes a local variable of
// the script and its prelude, and by these names package store gives the keys and the
// arguments. A last name that ends in ... is for any number of arguments: the variable
// says from where on they stand in ARGV. If it is that of a file of the prelude, the
// ARGV line there stands in its place. By the names in a reply package store reads it;
// one with others in braces is a list of rows, one behind the other. Two spaces begin
// a comment. A file of the prelude has a NEXT line of its own, for the scripts that use
// it. What a script may call is in commands.go.
//
// Some files of the prelude have statements (clock, deadline, rights, record,
// watch), the others functions; both use the script's names and those of the files
// before them. A function that a script does not call is left out of it.
//
// Every script first reads, then checks, then writes, then replies: Redis does not
// roll back, so nothing may fail after the first write. A condition such as a lost
// lease is a status, never an error reply, because clients repeat a command after
// some errors.
//
// Begin with commit.lua, which is what the end of a turn usually is; settle.lua is the
// general form of it, and prelude/handout.lua is about who holds a session.
package lua

import (
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
)

//go:embed *.lua prelude/*.lua
var files embed.FS

// A Script is one script as it is sent to the server. Do not change it.
type Script struct {
	Name string   // Name is the file's name without .lua.
	Keys []string // Keys are the names in the header's KEYS line, in order.
	Args []string // Args are the names in the header's ARGV line, in order.

	Writes  bool     // Writes is true unless the script only reads.
	Losable bool     // Losable is true if nobody needs to wait until what it wrote is safe.
	final   []string // the statuses in the header's FINAL line; empty means all

	joined func() joined // joins the script when it is first asked for
}

// joined is what is made of a script's own file and its prelude.
type joined struct {
	text, sha string
	names     map[string][]string
}

// Text returns the script with its prelude.
func (s *Script) Text() string { return s.joined().text }

// SHA returns the SHA-1 of Text in hex, for EVALSHA.
func (s *Script) SHA() string { return s.joined().sha }

// Names returns what the header calls the parts of a reply, the status being the
// first; or those of what is next, the first being the word that says what to do; or
// those of a row in the list of that name. It returns nil for anything else.
func (s *Script) Names(of string) []string { return s.joined().names[of] }

// IsFinal reports whether a reply with this status stays true whatever becomes
// of an earlier attempt of the same call that may still be on its way.
func (s *Script) IsFinal(status string) bool {
	return len(s.final) == 0 || slices.Contains(s.final, status)
}

// The scripts.
var (
	Accept    = load(files, "accept")
	Alone     = load(files, "alone")
	Beat      = load(files, "beat")
	Change    = load(files, "change")
	Check     = load(files, "check")
	Commit    = load(files, "commit")
	Create    = load(files, "create")
	Dead      = load(files, "dead")
	Destroy   = load(files, "destroy")
	Discard   = load(files, "discard")
	Drop      = load(files, "drop")
	Erase     = load(files, "erase")
	File      = load(files, "file")
	Heads     = load(files, "heads")
	History   = load(files, "history")
	Lease     = load(files, "lease")
	Load      = load(files, "load")
	Look      = load(files, "look")
	Move      = load(files, "move")
	Outcome   = load(files, "outcome")
	Page      = load(files, "page")
	Probe     = load(files, "probe")
	Redeliver = load(files, "redeliver")
	Release   = load(files, "release")
	Renew     = load(files, "renew")
	Retry     = load(files, "retry")
	Sent      = load(files, "sent")
	Settings  = load(files, "settings")
	Settle    = load(files, "settle")
	Skip      = load(files, "skip")
	Status    = load(files, "status")
	Tally     = load(files, "tally")
	Unlock    = load(files, "unlock")
)

// All has all scripts, sorted by name.
var All = []*Script{Accept, Alone, Beat, Change, Check, Commit, Create, Dead, Destroy, Discard, Drop, Erase, File, Heads, History, Lease, Load, Look, Move, Outcome, Page, Probe, Redeliver, Release, Renew, Retry, Sent, Settings, Settle, Skip, Status, Tally, Unlock}

// load reads a script's header. It panics on one that it cannot read: the files are
// part of the program.
func load(from fs.ReadFileFS, name string) *Script {
	body := read(from, name+".lua")
	s := &Script{Name: name, Keys: header(body, "KEYS"), Args: header(body, "ARGV")}
	last := len(s.Args) - 1
	if piece, many := strings.CutSuffix(s.Args[last], "..."); many && slices.Contains(header(body, "USES"), piece) {
		s.Args = append(s.Args[:last], header(read(from, "prelude/"+piece+".lua"), "ARGV")...)
	}
	switch writes := strings.Join(header(body, "WRITES"), " "); writes {
	case "no":
	case "yes", "losable":
		s.Writes, s.Losable = true, writes == "losable"
		if final := header(body, "FINAL"); !slices.Equal(final, []string{"all"}) {
			s.final = final
		}
	default:
		panic(fmt.Sprintf("lua: %s: WRITES %s", name, writes))
	}
	s.joined = sync.OnceValue(func() joined { return s.join(from, body) })
	return s
}

// join puts the pieces that a script's header names before it. Programs that import
// this package and run no script do not pay for it.
func (s *Script) join(from fs.ReadFileFS, body string) joined {
	var text, before, behind strings.Builder
	names := map[string][]string{}
	declare(&text, "KEYS", s.Keys)
	declare(&text, "ARGV", s.Args)
	part := &before
	for _, piece := range header(body, "USES") {
		if piece == "|" {
			part = &behind
			continue
		}
		content := read(from, "prelude/"+piece+".lua")
		part.WriteString(content)
		readNames(names, content, "NEXT")
	}
	text.WriteString(before.String())
	text.WriteString(strings.Replace(body, behindHere, behind.String(), 1))
	readNames(names, body, "REPLY")
	readNames(names, body, "NEXT")
	whole := used(text.String())
	if before, after, asks := strings.Cut(whole, rightsHere); asks {
		whole = before + rights(whole, s.Keys[0]) + after
	}
	sum := sha1.Sum([]byte(whole))
	return joined{whole, hex.EncodeToString(sum[:]), names}
}

// readNames reads the lines of a header's field in which names follow a word, such as a
// status. Under that word it puts all of them, itself included, and under the name of
// a list those of its rows.
func readNames(names map[string][]string, body, field string) {
	in := false
	for line := range strings.Lines(body) {
		rest, more := strings.CutPrefix(line, "--        ")
		if first, begins := strings.CutPrefix(line, "-- "+field+" "); begins {
			rest, in = strings.TrimLeft(first, " "), true
		} else if in = in && more; !in || strings.HasPrefix(rest, " ") { // another field, or more of a comment
			continue
		}
		rest, _, _ = strings.Cut(rest, "  ")
		for shape := range strings.SplitSeq(rest, " | ") {
			var all []string
			list := ""
			for _, word := range strings.Fields(shape) {
				if of, first, opens := strings.Cut(word, "{"); opens {
					list, all, word = of, append(all, of), first
				}
				if list == "" {
					all = append(all, word)
					continue
				}
				word, closes := strings.CutSuffix(word, "}")
				if names[list] = append(names[list], word); closes {
					list = ""
				}
			}
			if names[all[0]] != nil {
				panic(fmt.Sprintf("lua: the headers say twice what follows %s", all[0]))
			}
			names[all[0]] = all
		}
	}
}

// behindHere is the line of a script in whose place the pieces behind the bar stand.
const behindHere = "-- (the pieces behind the bar in USES)\n"

// used leaves out of a script's text the functions that nothing behind them calls: the
// server makes all functions of a script anew each time that it runs.
func used(text string) string {
	lines := slices.Collect(strings.Lines(text))
	var kept, calls []string // the parts of the text, from the last on, and their code
	keep := func(part []string) {
		kept = append(kept, strings.Join(part, ""))
		calls = append(calls, code(kept[len(kept)-1]))
	}
	end := len(lines)
	for i, line := range slices.Backward(lines) {
		rest, isFunction := strings.CutPrefix(line, "local function ")
		if !isFunction {
			continue
		}
		behind := i + slices.Index(lines[i:], "end\n") + 1
		keep(lines[behind:end])
		end = i
		name, _, _ := strings.Cut(rest, "(")
		if slices.ContainsFunc(calls, func(code string) bool { return strings.Contains(code, name+"(") }) {
			end = behind
			continue
		}
		for end > 0 && strings.HasPrefix(lines[end-1], "--") { // what is said of it
			end--
		}
	}
	keep(lines[:end])
	slices.Reverse(kept)
	return strings.Join(kept, "")
}

// code is a script's text without its comments.
func code(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if before, _, found := strings.Cut(line, "--"); found {
			line = before + "\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

// declare writes the local variables that a header line stands for.
func declare(text *strings.Builder, table string, names []string) {
	var locals, values []string
	for i, name := range names {
		if first, many := strings.CutSuffix(name, "..."); many {
			locals, values = append(locals, first), append(values, fmt.Sprint(i+1))
			continue
		}
		locals, values = append(locals, name), append(values, fmt.Sprintf("%s[%d]", table, i+1))
	}
	fmt.Fprintf(text, "local %s = %s\n", strings.Join(locals, ", "), strings.Join(values, ", "))
}

func read(from fs.ReadFileFS, file string) string {
	b, err := from.ReadFile(file)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// header returns the words of one line of a script's header.
func header(body, field string) []string {
	for line := range strings.Lines(body) {
		if rest, ok := strings.CutPrefix(line, "-- "+field+" "); ok {
			return strings.Fields(rest)
		}
	}
	panic(fmt.Sprintf("lua: a script has no %s line", field))
}
