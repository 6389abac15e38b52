package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/session"
)

// tlsMismatch adds to the error of an Open that got no answer that the server
// speaks TLS and the URL does not say so, or the other way round. A client that
// gets this wrong learns only of a connection that ends, or of no answer at all.
func tlsMismatch(ctx context.Context, client redis.UniversalClient, err error) error {
	var fromServer redis.Error
	if errors.As(err, &fromServer) || errors.Is(err, session.ErrInvalid) {
		return err
	}
	addr, secure := "", false
	switch c := client.(type) {
	case *redis.Client:
		if o := c.Options(); o.Network == "tcp" && o.Addr != failoverAddr {
			addr, secure = o.Addr, o.TLSConfig != nil
		}
	case *redis.ClusterClient:
		if o := c.Options(); len(o.Addrs) > 0 {
			addr, secure = o.Addrs[0], o.TLSConfig != nil
		}
	}
	if addr == "" {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 500*time.Millisecond)
	defer cancel()
	conn, failed := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if failed != nil {
		return err
	}
	defer conn.Close()
	if end, ok := ctx.Deadline(); ok && conn.SetDeadline(end) != nil {
		return err
	}
	if secure {
		first := make([]byte, 1)
		if _, e := conn.Write([]byte("*1\r\n$4\r\nPING\r\n")); e != nil {
			return err
		}
		if _, e := conn.Read(first); e == nil && (first[0] == '+' || first[0] == '-') {
			return fmt.Errorf("%w (the server at %s does not speak TLS: use redis, not rediss)", err, addr)
		}
		return err
	}
	// Only what the server speaks is asked: nothing is sent over this connection.
	if e := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(ctx); e == nil {
		return fmt.Errorf("%w (the server at %s speaks TLS: use rediss, not redis)", err, addr)
	}
	return err
}
