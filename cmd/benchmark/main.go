// Command benchmark measures botsession against other ways of keeping a
// chatbot's sessions in Redis, on one server in one run, and says which of the
// project's goals are reached:
//
//	go run .                    start a Redis on the loopback, measure everything, print tables
//	go run . --quick            fewer sizes, one repeat
//	go run . --data FILE        with the messages of real dialogues, see readDialogues
//	go run . --redis URL        on a server that runs already (its other keys are not touched)
//	go run . --json             one object a line
//	go run . --parts wake,idle  only these of the parts
//	go run . --pair FILE        this version and another, built as FILE, in one run
//
// README.md says what each part measures.
//
// It is a module of its own, so that nobody who imports the library downloads
// what it is compared with.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if listAsTold() {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.As(err, new(usageError)):
		fmt.Fprintln(os.Stderr, "error:", err)
		fmt.Fprintln(os.Stderr, "hint: --help lists the flags")
		os.Exit(2)
	case err != nil:
		// errors.Join puts each error on a line of its own.
		fmt.Fprintln(os.Stderr, "error:", strings.ReplaceAll(err.Error(), "\n", "\nerror: "))
		os.Exit(1)
	}
}

// A usageError is a command line that cannot be followed.
type usageError struct{ error }

// options are the command line.
type options struct {
	config
	redis          string
	pair           string
	json, markdown bool
}

func parse(args []string, errs io.Writer) (*options, error) {
	o := &options{}
	flags := flag.NewFlagSet("benchmark", flag.ContinueOnError)
	flags.SetOutput(errs)
	var histories, callers, memory, names string
	var quick bool
	flags.StringVar(&o.redis, "redis", "", "redis:// `URL` of a server to measure on; empty: one is started")
	flags.StringVar(&o.data, "data", "", "`FILE` of dialogues, JSON lines, plain or gzip; empty: messages of the same sizes are generated, and nothing is replayed")
	flags.BoolVar(&o.json, "json", false, "print one JSON object a line")
	flags.BoolVar(&o.markdown, "markdown", false, "print the tables as Markdown")
	flags.BoolVar(&quick, "quick", false, "10, 100 and 1000 messages, 1 and 32 callers, one repeat; shorter parts")
	flags.StringVar(&names, "parts", partNames(), "comma-separated parts to measure")
	flags.StringVar(&histories, "histories", "10,100,1000,10000", "messages of history")
	flags.StringVar(&callers, "callers", "1,32,256", "callers at once")
	flags.StringVar(&o.pair, "pair", "", "this program built of another version of the library, `FILE`: both measure in turn, --repeats times, and the goals are compared")
	flags.IntVar(&o.turns, "turns", 512, "of each kind, whose instructions are counted; 64 or a multiple")
	flags.IntVar(&o.others, "others", 0, "idle sessions in the bucket of those whose turns' instructions are counted; with more than 100 its index is no longer compact")
	flags.IntVar(&o.index, "index", 1_000_000, "sessions whose index is measured, and that are listed")
	flags.IntVar(&o.fleet, "fleet", 100, "replicas of the large idle fleet")
	flags.IntVar(&o.bots, "bots", 40, "that the larger idle fleets serve")
	flags.IntVar(&o.repeats, "repeats", 3, "how often everything is measured; the median is given")
	flags.DurationVar(&o.budget, "time", 300*time.Millisecond, "of turns, for each contender, history, callers and repeat")
	flags.StringVar(&memory, "memory", "20,200", "messages of the idle sessions whose memory is measured")
	flags.IntVar(&o.sessions, "sessions", 500, "idle sessions whose memory is measured")
	flags.StringVar(&o.only, "only", "", "comma-separated parts of the names of the contenders to measure")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, err
		}
		return nil, usageError{err}
	}
	if flags.NArg() > 0 {
		return nil, usageError{fmt.Errorf("an argument too many: %q", flags.Arg(0))}
	}
	if quick {
		given := map[string]bool{}
		flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
		for name, value := range map[string]string{"histories": "10,100,1000", "callers": "1,32", "repeats": "1", "time": "150ms",
			"memory": "20", "sessions": "200", "turns": "128", "index": "100000", "fleet": "20"} {
			if !given[name] {
				if err := flags.Set(name, value); err != nil {
					return nil, err
				}
			}
		}
	}
	o.clusters = []int{1, 3, 6}
	o.users, o.rounds, o.wakeUps, o.watch, o.waiters = 20000, 2, 500, 20*time.Second, 200
	if quick {
		o.dialogues, o.users, o.rounds, o.wakeUps, o.watch = 200, 10000, 1, 200, 10*time.Second
	}
	for name := range strings.SplitSeq(names, ",") {
		name = strings.TrimSpace(name)
		if !slices.ContainsFunc(parts, func(p part) bool { return p.name == name }) {
			return nil, usageError{fmt.Errorf("--parts: %q: want some of %s", name, partNames())}
		}
		o.parts = append(o.parts, name)
	}
	for name, list := range map[string]struct {
		text  string
		to    *[]int
		least int
	}{"histories": {histories, &o.histories, 4}, "callers": {callers, &o.callers, 1}, "memory": {memory, &o.memory, 4}} {
		for part := range strings.SplitSeq(list.text, ",") {
			if part = strings.TrimSpace(part); part == "" {
				continue
			}
			n, err := strconv.Atoi(part)
			if err != nil || n < list.least || list.least == 4 && n%2 == 1 {
				return nil, usageError{fmt.Errorf("--%s: %q: want numbers, at least %d, messages in pairs", name, part, list.least)}
			}
			*list.to = append(*list.to, n)
		}
	}
	if len(o.histories) == 0 || len(o.callers) == 0 || o.repeats < 1 || o.budget <= 0 || o.sessions < 1 {
		return nil, usageError{errors.New("--histories, --callers, --repeats, --time and --sessions must not be empty or zero")}
	}
	if o.turns < workUsers || o.turns%workUsers > 0 || o.others < 0 || o.index < 1 || o.fleet < 1 || o.bots < 1 {
		return nil, usageError{fmt.Errorf("--turns must be %d or a multiple, --others not negative, --index, --fleet and --bots at least 1", workUsers)}
	}
	return o, nil
}

// A part is what is measured by itself, and has a table of its own.
type part struct {
	name    string
	measure func(context.Context, *bench, *report) error
}

// parts lists them all, in the order of the tables.
var parts = []part{
	{"instructions", func(ctx context.Context, b *bench, r *report) (err error) {
		r.Countings, err = b.countings(ctx)
		return err
	}},
	{"speed", func(ctx context.Context, b *bench, r *report) error { return b.speed(ctx, r.Contenders) }},
	{"latency", func(ctx context.Context, b *bench, r *report) (err error) {
		r.Latency, err = b.latency(ctx)
		return err
	}},
	{"eager", func(ctx context.Context, b *bench, r *report) (err error) {
		r.Paces, err = b.paces(ctx)
		return err
	}},
	{"memory", func(ctx context.Context, b *bench, r *report) (err error) {
		r.Idles, err = b.idles(ctx, r.Contenders)
		return err
	}},
	{"index", func(ctx context.Context, b *bench, r *report) (err error) {
		r.Index, err = b.index(ctx)
		return err
	}},
	{"lists", func(ctx context.Context, b *bench, r *report) (err error) {
		r.Lists, err = b.lists(ctx)
		return err
	}},
	{"race", func(ctx context.Context, b *bench, r *report) (err error) {
		r.Races, err = b.races(ctx, r.Contenders)
		return err
	}},
	{"replay", func(ctx context.Context, b *bench, r *report) (err error) {
		r.Replay, err = b.replay(ctx)
		return err
	}},
	{"cluster", func(ctx context.Context, b *bench, r *report) (err error) {
		r.Clusters, err = b.onClusters(ctx)
		return err
	}},
	{"wake", func(ctx context.Context, b *bench, r *report) (err error) {
		r.Wake, err = b.wakes(ctx)
		return err
	}},
	{"wait", func(ctx context.Context, b *bench, r *report) (err error) {
		r.Wait, err = b.waits(ctx)
		return err
	}},
	{"idle", func(ctx context.Context, b *bench, r *report) (err error) {
		r.Fleets, err = b.idleFleets(ctx)
		return err
	}},
	{"durable", func(ctx context.Context, b *bench, r *report) error { return b.settings(ctx, r, durableSettings()) }},
	{"valkey", func(ctx context.Context, b *bench, r *report) error { return b.settings(ctx, r, valkeySettings()) }},
}

func partNames() string {
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = p.name
	}
	return strings.Join(names, ",")
}

// run does everything that the command line says.
func run(ctx context.Context, args []string, out, errs io.Writer) (err error) {
	o, err := parse(args, errs)
	if err != nil {
		return err
	}
	if o.pair != "" {
		return o.compare(ctx, args, out, errs)
	}
	data, source := generateDialogues(300), "generated messages"
	if o.data != "" {
		if data, err = readDialogues(o.data); err != nil {
			return err
		}
		source = fmt.Sprintf("messages of %d real dialogues", len(data))
	}
	all := chosen(contenders(), o.only)
	if len(all) == 0 {
		return usageError{fmt.Errorf("--only %q: no contender is called so", o.only)}
	}
	var s *server
	if o.redis != "" {
		s, err = useServer(ctx, o.redis)
	} else {
		s, err = startServer(ctx)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()

	b := newBench(s, data, o.config, errs)
	r := &report{Contenders: all, Config: o.config}
	began := time.Now()
	for _, p := range parts {
		if !slices.Contains(o.parts, p.name) {
			continue
		}
		if err := p.measure(ctx, b, r); err != nil {
			return err
		}
	}
	r.Cells, r.Costs = b.cells, b.costs
	r.Goals = b.goals(r)
	r.Machine = b.machine(ctx, source, time.Since(began))
	if o.json {
		return r.writeJSON(out)
	}
	r.print(out, o.markdown)
	return nil
}

// chosen returns the contenders whose name contains one of the parts.
func chosen(all []contender, only string) []contender {
	if only == "" {
		return all
	}
	var some []contender
	for _, c := range all {
		for part := range strings.SplitSeq(only, ",") {
			if strings.Contains(c.name, strings.TrimSpace(part)) {
				some = append(some, c)
				break
			}
		}
	}
	return some
}

// machine says where the figures come from.
type machine struct {
	CPU      string        `json:"cpu"`
	Cores    int           `json:"cores"`
	Go       string        `json:"go"`
	Server   string        `json:"server"`
	Messages string        `json:"messages"`
	Repeats  int           `json:"repeats"`
	Took     time.Duration `json:"took_ns"`
}

func (m machine) String() string {
	return fmt.Sprintf("%s, %d cores, %s/%s, %s, %s on the loopback, clients and server on the same machine; %s; median of %d; took %s.",
		m.CPU, m.Cores, runtime.GOOS, runtime.GOARCH, m.Go, m.Server, m.Messages, m.Repeats, m.Took.Round(time.Second))
}

func (b *bench) machine(ctx context.Context, source string, took time.Duration) machine {
	m := machine{CPU: cpu(), Cores: runtime.NumCPU(), Go: runtime.Version(), Messages: source, Repeats: b.config.repeats, Took: took}
	m.Server = b.server.version(ctx)
	return m
}

// cpu names the processor, where the system tells.
func cpu() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}
