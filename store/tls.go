package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/botsession/botsession/session"
	"github.com/botsession/botsession/store/internal/call"
)

// lookFor bounds how long a failed Open looks whether TLS is the cause.
const lookFor = 500 * time.Millisecond

// tlsMismatch adds to the error of an Open that no server replied to whether the
// server speaks TLS and the URL does not say so, or the other way round. A client
// that gets this wrong learns only of a connection that ends, or of no reply at
// all. The server asked is the first one of the URL: the one, one of the cluster,
// or a Sentinel.
func (t *target) tlsMismatch(ctx context.Context, err error) error {
	if len(t.hosts) == 0 || call.FromServer(err) || errors.Is(err, session.ErrInvalid) || errors.Is(ctx.Err(), context.Canceled) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookFor)
	defer cancel()
	addr := t.hosts[0]
	switch {
	case t.secure && speaksPlain(ctx, addr):
		return fmt.Errorf("%w (the server at %s does not speak TLS: use redis%s://)", err, addr, t.kind)
	case !t.secure && speaksTLS(ctx, addr):
		return fmt.Errorf("%w (the server at %s speaks TLS: use rediss%s://)", err, addr, t.kind)
	}
	return err
}

// speaksPlain asks without TLS and looks for a reply in Redis' protocol, be it an
// error.
func speaksPlain(ctx context.Context, addr string) bool {
	conn, err := dialUntil(ctx, addr)
	if err != nil {
		return false
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("*1\r\n$4\r\nPING\r\n")); err != nil {
		return false
	}
	first := make([]byte, 1)
	_, err = conn.Read(first)
	return err == nil && (first[0] == '+' || first[0] == '-')
}

// speaksTLS begins a handshake. A server that refuses it with an alert, such as
// one that wants a certificate or knows no common version, speaks TLS too. No
// certificate is checked, for nothing is sent over the connection.
func speaksTLS(ctx context.Context, addr string) bool {
	conn, err := dialUntil(ctx, addr)
	if err != nil {
		return false
	}
	defer conn.Close()
	host, _, _ := net.SplitHostPort(addr)
	err = tls.Client(conn, &tls.Config{ServerName: host, InsecureSkipVerify: true}).HandshakeContext(ctx)
	var alert *net.OpError
	return err == nil || errors.As(err, &alert) && alert.Op == "remote error"
}

// dialUntil returns a connection that does nothing after the end of ctx.
func dialUntil(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	end, _ := ctx.Deadline()
	if err := conn.SetDeadline(end); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}
