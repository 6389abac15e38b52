package demo

import (
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
)

// report is what demo --json prints.
type report struct {
	Dialogues         int     `json:"dialogues"`
	Turns             int     `json:"turns"`      // messages of users
	Mismatched        int     `json:"mismatched"` // as in result
	Lost              int     `json:"lost"`
	Duplicated        int     `json:"duplicated"`
	OutOfOrder        int     `json:"out_of_order"`
	DuplicatesDropped int64   `json:"duplicates_dropped"` // deliveries that were answered as duplicates
	Takeovers         int64   `json:"takeovers"`          // turns that another replica ended because the first one died
	TurnsPerSecond    float64 `json:"turns_per_second"`
	P50               float64 `json:"p50_ms"` // from the first delivery of a message to the receipt of its reply
	P99               float64 `json:"p99_ms"`
	Resent            int64   `json:"resent"` // copies of replies: sent, and not noted by a replica that died

	Slowest     float64 `json:"slowest_ms"`
	Replicas    int     `json:"replicas"`
	Killed      int     `json:"killed"`
	Frozen      int     `json:"frozen"`
	Redelivered int64   `json:"redelivered"` // deliveries that nobody accepted, so that they were repeated
	Seconds     float64 `json:"seconds"`
	Bot         string  `json:"bot"`
	Seed        uint64  `json:"seed"`
}

// figures returns what a run was like.
func (r *demoRun) figures(found result) report {
	p := r.platform
	return report{
		Dialogues: len(r.Dialogues), Turns: turns(r.Dialogues),
		Mismatched: found.Mismatched, Lost: found.Lost, Duplicated: found.Duplicated, OutOfOrder: found.OutOfOrder,
		DuplicatesDropped: p.duplicates.Load(), Takeovers: p.takenOver.Load(), Resent: p.resent.Load(),
		TurnsPerSecond: round(float64(p.accepted.Load()) / r.elapsed.Seconds()),
		P50:            p.percentile(50), P99: p.percentile(99), Slowest: p.percentile(100),
		Replicas: r.Replicas, Killed: r.killed, Frozen: r.frozen, Redelivered: p.refused.Load(),
		Seconds: round(r.elapsed.Seconds()), Bot: r.bot, Seed: r.Seed,
	}
}

// report prints the figures and the verdict, and fails if that is not clean.
func (r *demoRun) report(found result) error {
	f := r.figures(found)
	if r.JSON {
		if err := text.WriteJSON(r.Out, f); err != nil {
			return err
		}
	} else {
		r.table(f)
	}
	return r.verdict(found, f)
}

func round(f float64) float64 { return float64(int64(f*100+0.5)) / 100 }

func (r *demoRun) table(f report) {
	t := text.NewBox(r.Out)
	t.Right(2)
	comma := humanize.Comma
	t.Row("dialogues", comma(int64(f.Dialogues)), "each is a session")
	t.Row("turns", comma(int64(f.Turns)), "a user's message and the reply to it")
	pace := fmt.Sprintf("in %.1f s", f.Seconds)
	if r.Think > 0 {
		pace += fmt.Sprintf("; users think for %v", r.Think)
	}
	t.Row("turns a second", fmt.Sprintf("%.1f", f.TurnsPerSecond), pace)
	t.Row("p50", fmt.Sprintf("%.1f ms", f.P50), "from a message's delivery to its reply")
	t.Row("p99", fmt.Sprintf("%.1f ms", f.P99), "")
	why := ""
	if f.Takeovers > 0 {
		why = fmt.Sprintf("a dead replica's lease (%v) must end first", r.Lease)
	}
	t.Row("slowest", fmt.Sprintf("%.1f ms", f.Slowest), why)
	t.Row("replicas killed", comma(int64(f.Killed)), "with SIGKILL, while they had work")
	if f.Frozen > 0 {
		t.Row("replicas frozen", comma(int64(f.Frozen)), "with SIGSTOP, for longer than a lease")
	}
	t.Row("turns taken over", comma(f.Takeovers), "begun by a replica that died or froze")
	t.Row("replies sent again", comma(f.Resent), "sent, but not noted before that")
	t.Row("duplicates dropped", comma(f.DuplicatesDropped), "delivered again, not handled again")
	t.Render()
}

// verdict says whether all is as promised, and if not, what is not.
func (r *demoRun) verdict(found result, f report) error {
	out := r.Out
	if r.JSON {
		out = r.Err // stdout holds one object
	}
	if found.clean() {
		fmt.Fprintln(out, out.Paint(text.Green, "Clean:"), "every session's chat history equals its dialogue, message for message,")
		fmt.Fprintln(out, "its state and data equal the dialogue's last ones, and every reply was sent.")
	} else {
		fmt.Fprintln(out, out.Paint(text.Red, "NOT CLEAN:"), fmt.Sprintf("%d of %s differ; %d lost, %d duplicated, %d out of order.",
			f.Mismatched, text.Count(f.Dialogues, "session", "sessions"), f.Lost, f.Duplicated, f.OutOfOrder))
		for _, d := range found.Differences {
			fmt.Fprintf(out, "  %s, %s\n    want %s\n    got  %s\n", text.Clean(d.Dialogue), d.Where,
				text.Paragraph(d.Want, "         "), text.Paragraph(d.Got, "         "))
		}
	}
	if r.Redis != "" {
		url := "--redis " + r.Redis
		if strings.Contains(r.Redis, "@") {
			url = "--redis URL" // it may hold a password
		}
		if r.Namespace != "" {
			url += " --namespace " + r.Namespace
		}
		ref := session.Ref{Bot: r.bot, ID: r.Dialogues[0].id}
		fmt.Fprintf(r.Err, "The sessions stay for an hour:\n  botsession ls %s %s\n  botsession show %s %s\n", r.bot, url, ref, url)
	}
	if !found.clean() {
		return ErrNotClean
	}
	return nil
}
