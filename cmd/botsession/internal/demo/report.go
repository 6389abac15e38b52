package demo

import (
	"fmt"

	"github.com/dustin/go-humanize"

	"github.com/botsession/botsession/cmd/botsession/internal/text"
	"github.com/botsession/botsession/session"
)

// A report is the figures of a play, as JSON prints them.
type report struct {
	Dialogues         int     `json:"dialogues"`
	Turns             int     `json:"turns"`      // messages of users
	Mismatched        int     `json:"mismatched"` // this and the next three as in result
	Lost              int     `json:"lost"`
	Duplicated        int     `json:"duplicated"`
	OutOfOrder        int     `json:"out_of_order"`
	DuplicatesDropped int64   `json:"duplicates_dropped"` // deliveries that a webhook called duplicates
	Takeovers         int64   `json:"takeovers"`          // turns that another replica ended because the first one died or froze
	TurnsPerSecond    float64 `json:"turns_per_second"`
	P50               float64 `json:"p50_ms"` // from the first delivery of a message to the receipt of its reply
	P99               float64 `json:"p99_ms"`
	Resent            int64   `json:"resent"` // second copies of replies: sent, and not noted by a replica that died or froze

	Slowest     float64 `json:"slowest_ms"`
	Replicas    int     `json:"replicas"`
	Killed      int     `json:"killed"`
	Frozen      int     `json:"frozen"`
	Redelivered int64   `json:"redelivered"` // deliveries that nobody accepted, so that they were repeated
	Seconds     float64 `json:"seconds"`
	Bot         string  `json:"bot"`
	Seed        uint64  `json:"seed"`
}

// figures returns what a play was like.
func (p *play) figures(found result) report {
	return report{
		Dialogues: len(p.Dialogues), Turns: turns(p.Dialogues),
		Mismatched: found.mismatched, Lost: found.lost, Duplicated: found.duplicated, OutOfOrder: found.outOfOrder,
		DuplicatesDropped: p.platform.duplicates.Load(), Takeovers: p.platform.takenOver.Load(), Resent: p.platform.resent.Load(),
		TurnsPerSecond: round(float64(p.platform.accepted.Load()) / p.elapsed.Seconds()),
		P50:            p.platform.percentile(50), P99: p.platform.percentile(99), Slowest: p.platform.percentile(100),
		Replicas: p.Replicas, Killed: p.killed, Frozen: p.frozen, Redelivered: p.platform.refused.Load(),
		Seconds: round(p.elapsed.Seconds()), Bot: p.bot.Name(), Seed: p.Seed,
	}
}

func round(f float64) float64 { return float64(int64(f*100+0.5)) / 100 }

// report prints the figures and the verdict, and returns ErrNotClean if that is not
// clean.
func (p *play) report(found result) error {
	figures := p.figures(found)
	if p.JSON {
		if err := text.WriteJSON(p.Out, figures); err != nil {
			return err
		}
		return p.verdict(p.Err, found) // stdout holds one object
	}
	p.table(figures)
	return p.verdict(p.Out, found)
}

func (p *play) table(f report) {
	t := text.NewBox(p.Out)
	t.Right(2)
	t.Optional(3)
	comma := humanize.Comma
	t.Row("dialogues", comma(int64(f.Dialogues)), "each is a session")
	t.Row("turns", comma(int64(f.Turns)), "a user's message and the reply to it")
	pace := fmt.Sprintf("in %.1f s", f.Seconds)
	if p.Think > 0 {
		pace += fmt.Sprintf("; users think for %v", p.Think)
	}
	t.Row("turns a second", fmt.Sprintf("%.1f", f.TurnsPerSecond), pace)
	t.Row("p50", fmt.Sprintf("%.1f ms", f.P50), "from a message's delivery to its reply")
	t.Row("p99", fmt.Sprintf("%.1f ms", f.P99), "")
	why := ""
	if f.Takeovers > 0 {
		why = fmt.Sprintf("a lost replica's lease (%v) must end first", p.Lease)
	}
	t.Row("slowest", fmt.Sprintf("%.1f ms", f.Slowest), why)
	t.Row("replicas killed", comma(int64(f.Killed)), "with SIGKILL, while they had work")
	if f.Frozen > 0 {
		t.Row("replicas frozen", comma(int64(f.Frozen)), "with SIGSTOP, for longer than a lease")
	}
	t.Row("turns taken over", comma(f.Takeovers), "begun by a replica that died or froze")
	t.Row("replies sent again", comma(f.Resent), "not noted by a lost replica")
	t.Row("duplicates dropped", comma(f.DuplicatesDropped), "delivered again, not handled again")
	t.Render()
}

// verdict says on out whether all is as promised, and if not, what is not; and on
// Err where the sessions are.
func (p *play) verdict(out *text.Writer, found result) error {
	if found.clean() {
		fmt.Fprintln(out, out.Paint(text.Green, "Clean:"), "every session's chat history equals its dialogue, message for message,")
		fmt.Fprintln(out, "its state and data equal the dialogue's last ones, and every reply was sent.")
	} else {
		fmt.Fprintln(out, out.Paint(text.Red, "NOT CLEAN:"), fmt.Sprintf("%d of %s differ; %d lost, %d duplicated, %d out of order.",
			found.mismatched, text.Count(len(p.Dialogues), "session", "sessions"), found.lost, found.duplicated, found.outOfOrder))
		for _, d := range found.differences {
			fmt.Fprintf(out, "  %s, %s\n    want %s\n    got  %s\n", text.Clean(d.dialogue), text.Clean(d.where), out.Paragraph(d.want, 9), out.Paragraph(d.got, 9))
		}
	}
	if p.Redis != "" {
		flags := " --redis " + text.Shell(p.Redis)
		if text.Address(p.Redis) != p.Redis {
			flags = " --redis URL" // the rest of it may be a password
		}
		if p.Namespace != "" {
			flags += " --namespace " + text.Shell(p.Namespace)
		}
		ref := session.Ref{Bot: p.bot.Name(), ID: p.Dialogues[0].id}
		fmt.Fprintf(p.Err, "The sessions stay for an hour:\n  botsession ls %s%s\n  botsession show %s%s\n", ref.Bot, flags, text.Shell(ref.String()), flags)
	}
	if !found.clean() {
		return ErrNotClean
	}
	return nil
}
