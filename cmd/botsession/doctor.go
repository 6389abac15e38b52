package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// doctorOptions are what doctor was asked.
type doctorOptions struct {
	*env
	quick bool
	json  bool
}

func newDoctor(e *env) *cobra.Command {
	o := &doctorOptions{env: e}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find what is wrong with the server, the data and the fleet",
		Long: `Look for what is wrong, and say how bad it is and what to do: the server, its
memory, persistence and clock, the rights of this user, the slow log, the data
(each key, and the lists against the sessions), and bots that nobody serves.

BAD means that something is lost or stands still, or soon will be; WARN that it
should be changed. The exit code is 1 if anything is bad. All data is read, a
little at a time, which takes long where there is much: --quick leaves that out.`,
		Example: `  botsession doctor
  botsession doctor --quick --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	cmd.Flags().BoolVar(&o.quick, "quick", false, "do not read all data")
	cmd.Flags().BoolVar(&o.json, "json", false, "one JSON object a line")
	return cmd
}

// How bad something is.
const (
	bad  = "BAD"
	warn = "WARN"
	fine = "ok"
)

// A diagnosis is something that doctor looked at.
type diagnosis struct {
	Level string `json:"level"`        // Level is how bad it is.
	What  string `json:"what"`         // What was looked at.
	Found string `json:"found"`        // Found is what is so.
	Do    string `json:"do,omitempty"` // Do is what to do about it.
}

// mostSick is how many findings in the data are shown.
const mostSick = 20

func (o *doctorOptions) run(ctx context.Context) error {
	st, err := o.openQuietly(ctx, true)
	if err != nil {
		return err
	}
	defer st.Close()
	worst := fine
	var broken error
	say := func(d diagnosis) {
		if d.Level == bad || worst == fine {
			worst = d.Level
		}
		if broken == nil {
			broken = o.say(d)
		}
	}
	o.rights(ctx, say)
	o.servers(ctx, st, say)
	o.fleets(ctx, st, say)
	if !o.quick {
		o.data(ctx, st, say)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case broken != nil:
		return broken
	case worst == bad:
		return errSilent
	}
	return nil
}

func (o *doctorOptions) say(d diagnosis) error {
	if o.json {
		return text.WriteJSON(o.out, d)
	}
	color := map[string]text.Color{bad: text.Red, warn: text.Yellow, fine: text.Green}[d.Level]
	const indent = 5
	_, err := fmt.Fprintf(o.out, "%s %s\n", o.out.Paint(color, text.Pad(d.Level, indent-1)), o.out.Paragraph(d.What+": "+d.Found, indent))
	if d.Do != "" {
		fmt.Fprintf(o.out, "     %s\n", o.out.Paragraph("do: "+d.Do, indent+4))
	}
	return err
}

// rights looks whether this user could serve.
func (o *doctorOptions) rights(ctx context.Context, say func(diagnosis)) {
	st, err := o.openQuietly(ctx, false)
	switch {
	case err == nil:
		st.Close()
		say(diagnosis{fine, "rights", "this user may look, act and serve", ""})
	case errors.Is(err, session.ErrNoPermission):
		say(diagnosis{warn, "rights", "this user may only look: " + err.Error(), "to act or to serve, the rights that the README lists"})
	default:
		say(diagnosis{bad, "rights", err.Error(), ""})
	}
}

func (o *doctorOptions) servers(ctx context.Context, st *store.Store, say func(diagnosis)) {
	for _, w := range st.Warnings() {
		say(diagnosis{warn, "server", w, ""})
	}
	servers, err := st.Servers(ctx)
	if err != nil {
		say(diagnosis{bad, "servers", err.Error(), "look after the servers that do not reply"})
	}
	for _, s := range servers {
		name := "server " + s.Addr
		if s.Version == "" {
			say(diagnosis{warn, name, "it does not tell this user about itself", "the right to INFO shows memory, policy and persistence here"})
		} else {
			found := fmt.Sprintf("%s, %s, policy %s, %s", s.Version, memory(s), s.Policy, text.Count(s.Replicas, "copy", "copies"))
			d := diagnosis{fine, name, found, ""}
			if s.MaxMemory > 0 && s.Memory > s.MaxMemory*9/10 {
				d.Level, d.Do = bad, "make room, or raise maxmemory: a full server takes no more events"
			}
			say(d)
		}
		if off := time.Since(s.Now).Round(time.Second); off.Abs() > 5*time.Second {
			say(diagnosis{warn, name, fmt.Sprintf("its clock and the one here are %s apart", text.Duration(off)), "set both by NTP; only the server's decides, but people compare it with logs"})
		}
		if s.SlowCalls > 0 {
			say(diagnosis{warn, name, text.Count(s.SlowCalls, "command", "commands") + " in the slow log, whose arguments are texts of users", "redis-cli SLOWLOG GET shows them, SLOWLOG RESET removes them"})
		}
	}
	if len(servers) < 2 {
		return
	}
	least := slices.MinFunc(servers, func(a, b store.Server) int { return cmp.Compare(a.Memory, b.Memory) })
	most := slices.MaxFunc(servers, func(a, b store.Server) int { return cmp.Compare(a.Memory, b.Memory) })
	if least.Memory > 0 && most.Memory > 3*least.Memory {
		say(diagnosis{warn, "spread", fmt.Sprintf("%s uses %s, %s uses %s", most.Addr, memory(most), least.Addr, memory(least)), "spread the slots evenly: redis-cli --cluster rebalance"})
	}
}

func (o *doctorOptions) fleets(ctx context.Context, st *store.Store, say func(diagnosis)) {
	bots, failed, err := o.bots(ctx, st, "")
	if err != nil {
		failed = append(failed, err)
	}
	for _, err := range failed {
		say(diagnosis{bad, "bots", err.Error(), "a process that serves the bot puts its settings back within ten seconds"})
	}
	for _, bot := range bots {
		name := "bot " + bot.Name()
		s, err := o.stat(ctx, bot)
		if err != nil {
			say(diagnosis{bad, name, err.Error(), ""})
			continue
		}
		d := diagnosis{fine, name, s.fleet.headline(), ""}
		switch {
		case s.Replicas == 0 && s.Waiting > 0:
			d.Level, d.Do = bad, fmt.Sprintf("start a replica: %s", waits(s))
		case s.Replicas == 0:
			d.Level, d.Do = warn, "start a replica: what is accepted waits"
		case s.Used >= s.Slots:
			d.Level, d.Do = bad, fmt.Sprintf("look why the handlers take long (botsession replicas %[1]s), or start more: %[2]s", bot.Name(), waits(s))
		case s.Stuck > 0:
			d.Level, d.Do = warn, "a handler must return when its ctx ends; restart the replica that botsession replicas "+bot.Name()+" shows"
		}
		say(d)
		if versions := s.Versions; len(versions) > 1 {
			say(diagnosis{warn, name, fmt.Sprintf("its replicas have %d versions: %v", len(versions), versions), "end the roll-out"})
		}
		for _, r := range s.fleet.serving() {
			if r.Revision != s.fleet.settings.Revision && r.Now.Sub(s.fleet.settings.Changed) > 30*time.Second {
				say(diagnosis{warn, name, fmt.Sprintf("%s goes by revision %d of the settings, and %d is the last", r.Name, r.Revision, s.fleet.settings.Revision), "restart it"})
			}
		}
		if s.Full > 0 {
			say(diagnosis{bad, name, text.Count(s.Full, "inbox is", "inboxes are") + " full: their users get nothing in", "botsession stuck " + bot.Name()})
		}
		if s.Dead > 0 {
			say(diagnosis{warn, name, "dead letters in " + text.Count(s.Dead, "session", "sessions"), "botsession dead " + bot.Name()})
		}
	}
}

func waits(s stat) string {
	return fmt.Sprintf("%s, the longest for %s", text.Count(s.Waiting, "session waits", "sessions wait"), oldest(s))
}

// data looks at all that is stored.
func (o *doctorOptions) data(ctx context.Context, st *store.Store, say func(diagnosis)) {
	n := 0
	for f, err := range st.Check(ctx) {
		if err != nil {
			say(diagnosis{bad, "data", err.Error(), "not all of it was read"})
			return
		}
		if n++; n > mostSick {
			say(diagnosis{bad, "data", fmt.Sprintf("more than %d findings: the rest is not looked at", mostSick), "mend these first"})
			return
		}
		say(diagnosis{bad, "data", f.String(), "who writes to these keys beside the fleet? Was the server restored from an older copy?"})
	}
	if n == 0 {
		say(diagnosis{fine, "data", "every key is as it should be, and the lists fit the sessions", ""})
	}
}
