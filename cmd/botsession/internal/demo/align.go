package demo

import (
	"fmt"
	"slices"

	"github.com/botsession/botsession/session"
)

// A line is one message of a chat as far as it is compared.
type line struct {
	from session.Author
	text string
}

func (l line) String() string { return fmt.Sprintf("%s: %s", l.from, l.text) }

// An alignment says how what was got differs from what was wanted.
type alignment struct {
	lost  []int // positions in want that got lacks
	moved []int // positions in got of lines that want has elsewhere
	extra []int // positions in got of lines that want does not have, or not so often
}

func (a alignment) equal() bool { return len(a.lost)+len(a.moved)+len(a.extra) == 0 }

// align compares two chats. Their longest common subsequence is in order. Of the
// other lines, one that both have is out of order, one that only want has is lost,
// and one that only got has is extra.
func align(want, got []line) alignment {
	begin := 0
	for begin < len(want) && begin < len(got) && want[begin] == got[begin] {
		begin++
	}
	end := 0
	for end < len(want)-begin && end < len(got)-begin && want[len(want)-1-end] == got[len(got)-1-end] {
		end++
	}
	w, g := want[begin:len(want)-end], got[begin:len(got)-end]

	// common[i][j] is the length of the longest subsequence of w[i:] and g[j:].
	common := make([][]int, len(w)+1)
	for i := range common {
		common[i] = make([]int, len(g)+1)
	}
	for i := len(w) - 1; i >= 0; i-- {
		for j := len(g) - 1; j >= 0; j-- {
			if w[i] == g[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var a alignment
	unmatched := map[line][]int{} // positions in want, by line
	var left []int                // positions in got
	for i, j := 0, 0; i < len(w) || j < len(g); {
		switch {
		case i < len(w) && j < len(g) && w[i] == g[j]:
			i, j = i+1, j+1
		case j == len(g) || i < len(w) && common[i+1][j] >= common[i][j+1]:
			unmatched[w[i]] = append(unmatched[w[i]], begin+i)
			i++
		default:
			left = append(left, begin+j)
			j++
		}
	}
	for _, j := range left {
		if places := unmatched[got[j]]; len(places) > 0 {
			unmatched[got[j]] = places[1:]
			a.moved = append(a.moved, j)
		} else {
			a.extra = append(a.extra, j)
		}
	}
	for _, places := range unmatched {
		a.lost = append(a.lost, places...)
	}
	slices.Sort(a.lost)
	return a
}
