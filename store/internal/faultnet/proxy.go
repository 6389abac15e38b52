package faultnet

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
)

// Counts is what a Proxy has seen.
type Counts struct {
	Scripts int // requests for a script, since the rules were set
	Struck  int // those of them that had a fault
	Held    int // requests that wait for Release
	Open    int // requests that came and are not done with: neither answered by the server nor lost
}

// A Proxy passes connections on to one server. It is safe for concurrent use.
type Proxy struct {
	listener net.Listener
	target   string
	wg       sync.WaitGroup
	closed   chan struct{}

	mu      sync.Mutex
	changed *sync.Cond // of all below
	choose  func(request []byte) Fault
	gate    chan struct{} // closed by Release
	counts  Counts
	conns   map[*conn]struct{} // nil once the proxy is closed
}

// New starts a proxy before the server at target, which ends with the test.
func New(t testing.TB, target string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	p := &Proxy{listener: listener, target: target, closed: make(chan struct{}), gate: make(chan struct{}), conns: map[*conn]struct{}{}}
	p.changed = sync.NewCond(&p.mu)
	p.Strike()
	p.wg.Go(p.accept)
	t.Cleanup(p.Close)
	return p
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Strike sets the rules, in place of all before, and counts from here on. If
// several strike one request, it is the first that does.
func (p *Proxy) Strike(rules ...Rule) {
	seen := make([]int, len(rules))
	p.use(func(request []byte) (f Fault) {
		for i, r := range slices.Backward(rules) {
			if !bytes.Contains(request, []byte(r.Match)) {
				continue
			}
			seen[i]++
			if at := max(r.At, 1); seen[i] == at || r.Every && seen[i] > at {
				f = r.Fault
			}
		}
		return f
	})
}

// Random strikes each script with that chance and one of the faults, in place of
// all rules before. The same seed makes the same choices in the same order.
func (p *Proxy) Random(seed uint64, chance float64, faults ...Fault) {
	r := rand.New(rand.NewPCG(seed, 0))
	p.use(func([]byte) (f Fault) {
		if strike, which := r.Float64() < chance, r.IntN(len(faults)); strike {
			f = faults[which]
		}
		return f
	})
}

func (p *Proxy) use(choose func([]byte) Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.choose, p.counts.Scripts, p.counts.Struck = choose, 0, 0
}

// Release lets go what is held back now. What is held back later waits for the
// next Release.
func (p *Proxy) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.gate)
	p.gate = make(chan struct{})
}

// Counts returns what the proxy has seen so far.
func (p *Proxy) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

// Await waits until the counts are as wanted, or returns ctx's error.
func (p *Proxy) Await(ctx context.Context, wanted func(Counts) bool) error {
	defer context.AfterFunc(ctx, func() { p.count(func(*Counts) {}) })()
	p.mu.Lock()
	defer p.mu.Unlock()
	for !wanted(p.counts) {
		if ctx.Err() != nil {
			return fmt.Errorf("faultnet: waiting with %+v: %w", p.counts, context.Cause(ctx))
		}
		p.changed.Wait()
	}
	return nil
}

// Settle releases what is held back, and waits until no request is on its way.
func (p *Proxy) Settle(ctx context.Context) error {
	p.Release()
	return p.Await(ctx, func(c Counts) bool { return c.Open == 0 })
}

// Close cuts all connections. What is held back never arrives.
func (p *Proxy) Close() {
	p.mu.Lock()
	if p.conns == nil {
		p.mu.Unlock()
		return
	}
	for c := range p.conns {
		c.cut()
	}
	p.conns = nil
	close(p.closed)
	p.mu.Unlock()
	p.listener.Close()
	p.wg.Wait()
}

// arrived counts a request and chooses its fault. The gate is what a request
// that is held back waits for.
func (p *Proxy) arrived(request []byte, script bool) (f Fault, gate <-chan struct{}) {
	p.count(func(n *Counts) {
		n.Open++
		if script {
			f = p.choose(request)
			n.Scripts++
		}
		if f.kind != pass {
			n.Struck++
		}
		if f.kind == hold {
			n.Held++
		}
		gate = p.gate
	})
	return f, gate
}

// count changes the counts, or anything else that somebody may wait for.
func (p *Proxy) count(change func(*Counts)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.counts)
	p.changed.Broadcast()
}

func (p *Proxy) accept() {
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
		c := &conn{proxy: p, client: client, server: server}
		p.mu.Lock()
		if p.conns != nil {
			p.conns[c] = struct{}{}
			p.wg.Go(c.requests)
			p.wg.Go(c.replies)
		} else {
			c.cut()
		}
		p.mu.Unlock()
	}
}
