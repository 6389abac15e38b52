package call

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
)

// judge sorts the errors of attempts:
//
//	the server's "not now": LOADING, READONLY, a cluster that moves     notNow
//	a script stopped: an error of its own, a right that Redis 6 missed   torn
//	any other error reply: no right to run scripts, out of memory       denied
//	no connection was made, none was free, or it was never sent         notNow
//	the client is closed                                                denied
//	anything else: a reset, an EOF, a time-out                          lost
//
// Redis does not undo what a script wrote before it was stopped. Types and
// rights the scripts check before they write, memory and its role Redis itself.
func judge(err error) verdict {
	var fromServer redis.Error
	var network *net.OpError
	switch {
	case errors.Is(err, session.ErrNotAcked):
		return lost
	case errors.As(err, &fromServer):
		text := err.Error()
		if i := strings.LastIndex(text, ": -"); i >= 0 && strings.HasPrefix(text, "ERR Error running script") {
			text = text[i+len(": -"):] // so Redis 6 passes on the error of a command in a script
		}
		for _, prefix := range []string{"LOADING", "READONLY", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "NOREPLICAS", "BUSY",
			"MOVED", "ASK", "max number of clients"} {
			if strings.HasPrefix(text, prefix) {
				return notNow
			}
		}
		if (strings.HasPrefix(text, "ERR") || strings.HasPrefix(text, "NOPERM")) && strings.Contains(text, "script") && !strings.Contains(text, "WRONGTYPE") {
			return torn
		}
		return denied
	case errors.As(err, &network) && network.Op == "dial", errors.Is(err, redis.ErrPoolTimeout), errors.Is(err, redis.ErrPoolExhausted):
		return notNow
	case errors.Is(err, errNeverSent):
		return notNow
	case errors.Is(err, redis.ErrClosed):
		return denied
	}
	return lost
}

// Passing tells whether an error of a call is of the moment: of the network, or of
// a server that will be back.
func Passing(err error) bool { v := judge(err); return v == notNow || v == lost }

// WrongType tells whether a key was of another type than a command needs.
func WrongType(err error) bool { return redis.HasErrorPrefix(err, "WRONGTYPE") }

// TimeOver tells whether an error says no more than that time was over.
func TimeOver(err error) bool {
	var network net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout()
}

// Cannot tells a user without a right from a server without the command, by the
// text with which the server, or a script on it, refused.
func Cannot(text string) error {
	text = strings.ToLower(text)
	for _, of := range []string{"noperm", "the user executing the script", "no permissions", "can't run this command"} {
		if strings.Contains(text, of) {
			return session.ErrNoPermission
		}
	}
	return session.ErrUnsupported
}

// NoRight says of the refusal of a command that its user lacks the right to it,
// or its server the command. Other errors it returns as they are.
func NoRight(err error) error {
	if redis.HasErrorPrefix(err, "NOPERM") || redis.HasErrorPrefix(err, "unknown command") || FromServer(err) && errors.Is(Cannot(err.Error()), session.ErrNoPermission) {
		if kind := Cannot(err.Error()); !errors.Is(err, kind) {
			return fmt.Errorf("%w: %w", kind, err)
		}
	}
	return err
}
