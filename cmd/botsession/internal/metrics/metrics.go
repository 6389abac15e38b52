// Package metrics writes figures of bots in Prometheus' text format, and serves them.
//
// No label names a session, a user, an event, a state or a replica: they would make
// as many time series.
package metrics

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store"
)

// Figures are those of one bot.
type Figures struct {
	Bot string // Bot is the bot's name.
	store.Gauges
	Err error // Err says why the figures are missing, or are not of the whole bot.
}

// A Gather returns the figures that are to be written. Its error means that it does
// not know of which bots.
type Gather func(ctx context.Context) ([]Figures, error)

// Own gathers what this process has to say of a bot: the sum over all replicas is the
// fleet's figure, but for the oldest wait, of which the greatest is.
func Own(bot *store.Bot) Gather {
	return func(ctx context.Context) ([]Figures, error) {
		g, err := bot.OwnGauges(ctx)
		return []Figures{{bot.Name(), g, err}}, nil
	}
}

// Fleet gathers the figures of all bots of a store, as a process does that serves none.
func Fleet(st *store.Store) Gather {
	return func(ctx context.Context) (all []Figures, err error) {
		names, err := st.Bots(ctx)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			f := Figures{Bot: name}
			bot, err := st.Bot(ctx, name, nil)
			switch {
			case errors.Is(err, session.ErrNotFound): // its settings are gone, nobody can serve it
				continue
			case err != nil:
				f.Err = err
			default:
				f.Gauges, f.Err = bot.Gauges(ctx)
			}
			all = append(all, f)
		}
		return all, nil
	}
}

// A metric is one of those that are written.
type metric struct {
	name, help string
	samples    func(Figures) []sample
}

type sample struct {
	labels string // labels are those beside the bot's, each with a comma before it
	value  float64
}

func one(value float64) []sample { return []sample{{value: value}} }

var gauges = []metric{
	{"botsession_sessions", "Sessions that there are.", func(f Figures) []sample { return one(float64(f.Sessions)) }},
	{"botsession_events_waiting", "Events that wait, with those in hand in front of them.", func(f Figures) []sample { return one(float64(f.Waiting)) }},
	{"botsession_events_oldest_age_seconds", "For how long the oldest event, or unsent reply, has waited. The fleet's is the greatest of the replicas'.", func(f Figures) []sample { return one(f.Oldest.Seconds()) }},
	{"botsession_dead_letters", "Dead letters that are kept.", func(f Figures) []sample { return one(float64(f.DeadLetters)) }},
	{"botsession_slots", "Sessions that can be handled at once, free or busy.", func(f Figures) []sample {
		return []sample{{`,state="free"`, float64(f.Slots - f.Busy)}, {`,state="busy"`, float64(f.Busy)}}
	}},
}

var up = metric{"botsession_up", "Whether all figures of the bot could be read: 0 if some or all are missing.", func(f Figures) []sample {
	if f.Err != nil {
		return one(0)
	}
	return one(1)
}}

// Write writes figures in Prometheus' text format. Of a bot of which nothing could be
// read it writes that alone.
func Write(w io.Writer, all []Figures) error {
	var b bytes.Buffer
	write := func(m metric, missing bool) {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s gauge\n", m.name, m.help, m.name)
		for _, f := range all {
			if missing && f.Err != nil && f.Gauges == (store.Gauges{}) {
				continue
			}
			for _, s := range m.samples(f) {
				fmt.Fprintf(&b, "%s{bot=\"%s\"%s} %s\n", m.name, escaped.Replace(f.Bot), s.labels, strconv.FormatFloat(s.value, 'g', -1, 64))
			}
		}
	}
	write(up, false)
	for _, m := range gauges {
		write(m, true)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// escaped writes the value of a label.
var escaped = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// ContentType is that of what Write writes.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// patience is how long a request may take: less than Prometheus waits unless it is told
// otherwise.
const patience = 8 * time.Second

// Handler serves what gather returns. It returns 503 if it does not know of any bot.
func Handler(gather Gather) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		ctx, cancel := context.WithTimeout(req.Context(), patience)
		defer cancel()
		all, err := gather(ctx)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", ContentType)
		Write(w, all)
	})
}
