package main

import (
	"context"
	"errors"
	"strconv"
	"strings"
)

// info is what the server says of itself at one moment.
type info struct {
	in, out  int64 // bytes received and sent, over all connections
	commands map[string]commandStat
	reply    int64 // bytes of this very answer, which it does not count yet

	redirected int64 // commands that came to the wrong node of a cluster (counted since Redis 6.2)
}

type commandStat struct{ calls, usec int64 }

// infoRequest is how many bytes it takes to ask.
const infoRequest = int64(len("*2\r\n$4\r\ninfo\r\n$3\r\nall\r\n"))

func (s *server) info(ctx context.Context) (info, error) {
	text, err := s.control.Info(ctx, "all").Result()
	if err != nil {
		return info{}, err
	}
	i := parseInfo(text)
	i.reply = int64(len("$\r\n\r\n") + len(strconv.Itoa(len(text))) + len(text))
	return i, nil
}

func parseInfo(text string) info {
	i := info{commands: map[string]commandStat{}}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		switch command, isStat := strings.CutPrefix(name, "cmdstat_"); {
		case name == "total_net_input_bytes":
			i.in = number(value)
		case name == "total_net_output_bytes":
			i.out = number(value)
		case name == "errorstat_MOVED", name == "errorstat_ASK", name == "errorstat_CROSSSLOT":
			i.redirected += number(strings.TrimPrefix(value, "count="))
		case isStat:
			var stat commandStat
			for field := range strings.SplitSeq(value, ",") {
				switch key, v, _ := strings.Cut(field, "="); key {
				case "calls":
					stat.calls = number(v)
				case "usec":
					stat.usec = number(v)
				}
			}
			i.commands[command] = stat
		}
	}
	return i
}

func number(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}

// since returns what happened between two moments, without the asking itself.
func (i info) since(before info) info {
	d := info{in: i.in - before.in - infoRequest, out: i.out - before.out - before.reply,
		redirected: i.redirected - before.redirected, commands: map[string]commandStat{}}
	for name, now := range i.commands {
		then := before.commands[name]
		if calls := now.calls - then.calls; calls > 0 {
			d.commands[name] = commandStat{calls, now.usec - then.usec}
		}
	}
	return d
}

// plus adds what happened at another time.
func (i info) plus(other info) info {
	sum := info{in: i.in + other.in, out: i.out + other.out, redirected: i.redirected + other.redirected,
		commands: map[string]commandStat{}}
	for _, part := range []info{i, other} {
		for name, stat := range part.commands {
			s := sum.commands[name]
			sum.commands[name] = commandStat{s.calls + stat.calls, s.usec + stat.usec}
		}
	}
	return sum
}

// scripts returns how many scripts ran.
func (i info) scripts() int64 { return i.commands["evalsha"].calls }

// calls returns how many commands ran, those that scripts call among them, and
// without the asking itself.
func (i info) calls() (n int64) {
	for name, stat := range i.commands {
		if name != "info" {
			n += stat.calls
		}
	}
	return n
}

// serverTime returns the microseconds of a turn, of which we know how often it
// calls each command itself. The server counts what a script calls twice: under
// the command's name, and again in the script's time. So scripts count as they
// are, and any other command only as often as a client called it.
func (i info) serverTime(turns int, perTurn map[string]float64) (usec float64) {
	for name, stat := range i.commands {
		switch name {
		case "evalsha", "eval", "evalsha_ro", "eval_ro", "fcall", "fcall_ro":
			usec += float64(stat.usec) / float64(turns)
		default:
			usec += perTurn[name] * float64(stat.usec) / float64(stat.calls)
		}
	}
	return usec
}

// usedMemory returns the bytes that the server has allocated.
func (s *server) usedMemory(ctx context.Context) (int64, error) {
	text, err := s.control.Info(ctx, "memory").Result()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, "used_memory:"); ok {
			return number(strings.TrimSpace(value)), nil
		}
	}
	return 0, errors.New("the server does not tell how much memory it uses")
}
