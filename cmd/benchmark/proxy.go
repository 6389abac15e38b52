package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// A proxy stands between a client and the server and counts: a round trip is a
// request that is sent after an answer has come, on one connection; so a
// pipeline is one. It counts for every contender alike, also for those that
// make their own client. Nothing is timed through it.
type proxy struct {
	listener net.Listener
	target   string

	mu       sync.Mutex
	trips    int
	commands map[string]int
	conns    map[net.Conn]bool
	wg       sync.WaitGroup
}

// newProxy listens in front of the server, and returns the URL to use instead.
func newProxy(serverURL string) (*proxy, string, error) {
	u, err := url.Parse(serverURL)
	if err != nil {
		return nil, "", err
	}
	if u.Scheme != "redis" {
		return nil, "", fmt.Errorf("round trips are counted on redis:// only, not on %s://", u.Scheme)
	}
	target := u.Host
	if u.Port() == "" {
		target = net.JoinHostPort(u.Hostname(), "6379")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	p := &proxy{listener: l, target: target, commands: map[string]int{}, conns: map[net.Conn]bool{}}
	p.wg.Go(p.accept)
	u.Host = l.Addr().String()
	return p, u.String(), nil
}

// close ends all connections.
func (p *proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	for conn := range p.conns {
		conn.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// counted is what was seen so far.
type counted struct {
	trips    int
	commands map[string]int
}

func (p *proxy) counted() counted {
	p.mu.Lock()
	defer p.mu.Unlock()
	return counted{p.trips, maps.Clone(p.commands)}
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		c := &conn{proxy: p, answered: true}
		p.wg.Go(func() { c.requests(client, server) })
		p.wg.Go(func() { c.answers(server, client) })
	}
}

type conn struct {
	proxy    *proxy
	answered bool // since the last request; guarded by proxy.mu
}

// requests passes commands on, in the bursts in which they come.
func (c *conn) requests(from, to net.Conn) {
	defer to.Close()
	in, out := bufio.NewReaderSize(from, 1<<16), bufio.NewWriterSize(to, 1<<16)
	for {
		name, err := passCommand(in, out)
		if err != nil {
			return
		}
		c.proxy.mu.Lock()
		if c.answered {
			c.answered = false
			c.proxy.trips++
		}
		c.proxy.commands[name]++
		c.proxy.mu.Unlock()
		if in.Buffered() == 0 {
			if err := out.Flush(); err != nil {
				return
			}
		}
	}
}

func (c *conn) answers(from, to net.Conn) {
	defer to.Close()
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			c.proxy.mu.Lock()
			c.answered = true
			c.proxy.mu.Unlock()
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// passCommand copies one command, an array of strings, and returns its name as
// the server's statistics have it.
func passCommand(in *bufio.Reader, out *bufio.Writer) (name string, err error) {
	parts, err := passLength(in, out, '*')
	if err != nil {
		return "", err
	}
	for i := range parts {
		size, err := passLength(in, out, '$')
		if err != nil {
			return "", err
		}
		if i > 0 {
			if _, err := io.CopyN(out, in, int64(size)+2); err != nil {
				return "", err
			}
			continue
		}
		text := make([]byte, size+2)
		if _, err := io.ReadFull(in, text); err != nil {
			return "", err
		}
		if _, err := out.Write(text); err != nil {
			return "", err
		}
		name = strings.ToLower(string(text[:size]))
	}
	return name, nil
}

func passLength(in *bufio.Reader, out *bufio.Writer, mark byte) (int, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return 0, err
	}
	if line[0] != mark {
		return 0, fmt.Errorf("a request that begins with %q", line[0])
	}
	if _, err := out.WriteString(line); err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}
