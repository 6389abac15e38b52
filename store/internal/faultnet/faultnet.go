// Package faultnet is a bad network between a Redis client and a Redis server.
//
//	proxy := faultnet.New(t, "127.0.0.1:6379") // closed with the test
//	client := redis.NewClient(&redis.Options{Addr: proxy.Addr()})
//
//	proxy.Strike(faultnet.Rule{At: 2, Fault: faultnet.CutAfter})   // the second script from here on loses its reply
//	proxy.Strike(faultnet.Rule{Fault: faultnet.Hold, Every: true}) // no script arrives before Release
//	proxy.Random(seed, 0.1, faultnet.Cuts...)                      // one script in ten has one of these faults
//
// Only scripts (EVAL, EVALSHA) have faults; the set-up of connections, Pub/Sub and
// all other commands pass untouched. Each fault is one that TCP allows: nothing
// on a connection overtakes what came before it, and behind something that is
// missing nothing arrives any more.
package faultnet

import (
	"fmt"
	"time"
)

// A Fault is what happens to one request. The zero Fault is none.
type Fault struct {
	kind  kind
	delay time.Duration
	text  string
}

type kind int

const (
	pass kind = iota
	cutBefore
	cutHalfway
	cutAfter
	dropRequest
	dropReply
	hold
	delay
	refuse
)

// The faults.
var (
	CutBefore   = Fault{kind: cutBefore}   // the connection is cut, the request never arrives
	CutHalfway  = Fault{kind: cutHalfway}  // the connection is cut when half of the request has arrived
	CutAfter    = Fault{kind: cutAfter}    // the request is executed, and the connection is cut before its reply
	DropRequest = Fault{kind: dropRequest} // the connection stays, and no request on it arrives from this one on
	DropReply   = Fault{kind: dropReply}   // the connection stays, and no reply on it arrives from this request's on
	Hold        = Fault{kind: hold}        // the request waits for Release and then arrives, though its client may have gone
)

// Cuts are those faults that a client notices at once.
var Cuts = []Fault{CutBefore, CutHalfway, CutAfter}

// Delay lets the request arrive after d, though its client may have gone.
func Delay(d time.Duration) Fault { return Fault{kind: delay, delay: d} }

// Refuse keeps the request from the server and answers it with an error reply,
// such as "OOM command not allowed".
func Refuse(text string) Fault { return Fault{kind: refuse, text: text} }

// String says what happens, as in "the request is dropped".
func (f Fault) String() string {
	switch f.kind {
	case delay:
		return fmt.Sprintf("the request is %v late", f.delay)
	case refuse:
		return "the answer is " + f.text
	}
	return [...]string{"no fault", "the connection is cut before the request", "the connection is cut within the request",
		"the connection is cut before the reply", "the request is dropped", "the reply is dropped", "the request is held back"}[f.kind]
}

// A Rule says which requests a fault strikes.
type Rule struct {
	Fault Fault
	At    int    // the script request that is struck, counted from when the rule is set; zero means the first
	Every bool   // strike all after it, too
	Match string // count only requests that contain it, say a session's name; empty: all scripts
}
