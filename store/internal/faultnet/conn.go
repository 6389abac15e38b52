package faultnet

import (
	"bufio"
	"io"
	"net"
	"strings"
	"time"
)

// A conn is one client's connection, and the proxy's own for it to the server,
// which outlives it until all that was sent has been answered.
type conn struct {
	proxy          *Proxy
	client, server net.Conn
	fates          []fate // of the replies that are still to come, in order; under proxy.mu
	gone           bool   // no more replies come; under proxy.mu
}

// A fate is what becomes of a reply.
type fate struct {
	kind kind   // cutAfter, dropReply, or anything else
	text []byte // if set, takes its place
}

func (c *conn) cut() {
	c.client.Close()
	c.server.Close()
}

// requests passes on what the client sends, until that ends and the last of it
// has been answered.
func (c *conn) requests() {
	in := bufio.NewReader(c.client)
	for c.request(in) {
	}
	c.client.Close()
	p := c.proxy
	p.mu.Lock()
	for len(c.fates) > 0 && !c.gone {
		p.changed.Wait()
	}
	delete(p.conns, c)
	p.mu.Unlock()
	c.server.Close()
}

// request passes on one request, and reports whether another may follow.
func (c *conn) request(in *bufio.Reader) bool {
	request, command, err := readRequest(in)
	if err != nil {
		return false
	}
	p := c.proxy
	f, gate := p.arrived(request, command == "EVAL" || command == "EVALSHA")
	own := fate{kind: f.kind}
	switch f.kind {
	case cutBefore, cutHalfway, dropRequest:
		p.count(func(n *Counts) { n.Open-- })
		if f.kind == cutHalfway {
			c.server.Write(request[:len(request)/2])
			c.cut()
		} else if f.kind == dropRequest {
			io.Copy(io.Discard, in)
		}
		return false
	case hold:
		select {
		case <-gate:
		case <-p.closed:
		}
		p.count(func(n *Counts) { n.Held-- })
	case delay:
		select {
		case <-time.After(f.delay):
		case <-p.closed:
		}
	case refuse: // in its turn, so something must be asked
		request, own.text = []byte("*1\r\n$4\r\nPING\r\n"), []byte("-"+f.text+"\r\n")
	}
	p.count(func(n *Counts) {
		if c.gone || strings.HasSuffix(command, "SUBSCRIBE") { // these are answered once for each channel
			n.Open--
		} else {
			c.fates = append(c.fates, own)
		}
	})
	c.server.Write(request) // an error shows where the reply is read
	return true
}

// replies passes on what the server answers, until that ends.
func (c *conn) replies() {
	p := c.proxy
	out := bufio.NewReader(c.server)
	for mute := false; ; {
		reply, err := readMessage(out)
		if err != nil {
			break
		}
		var own fate
		p.mu.Lock()
		answers := len(c.fates) > 0 && reply[0] != '>'
		if answers {
			own = c.fates[0]
		}
		p.mu.Unlock()
		if own.text != nil {
			reply = own.text
		}
		if answers { // counted first: whoever has the reply in hand finds it counted
			p.count(func(n *Counts) {
				c.fates = c.fates[1:]
				n.Open--
			})
		}
		switch mute = mute || own.kind == dropReply; {
		case own.kind == cutAfter:
			c.client.Close()
		case !mute:
			c.client.Write(reply) // the client may have gone; the server is heard out all the same
		}
	}
	p.count(func(n *Counts) {
		n.Open -= len(c.fates)
		c.fates, c.gone = nil, true
	})
	c.cut()
}
