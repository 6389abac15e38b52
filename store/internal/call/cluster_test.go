package call

import (
	"bufio"
	"context"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/botsession/botsession/lua"
)

// A scripted node replies to a command by its name and its first key.
func scriptedNode(t *testing.T, reply func(name, key string) string) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for in := bufio.NewReader(conn); ; {
					words, err := words(in)
					if err != nil {
						return
					}
					name, key := strings.ToLower(words[0]), ""
					switch {
					case name == "evalsha":
						key = words[3]
					case len(words) > 1:
						key = words[1]
					}
					if _, err := io.WriteString(conn, reply(name, key)+"\r\n"); err != nil {
						return
					}
				}
			}()
		}
	}()
	return listener.Addr().String()
}

// words reads one command.
func words(in *bufio.Reader) ([]string, error) {
	number := func() (int, error) {
		line, err := in.ReadString('\n')
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(strings.TrimSpace(line[1:]))
	}
	n, err := number()
	words := make([]string, n)
	for i := range words {
		size, e := number()
		if e != nil {
			return nil, e
		}
		word := make([]byte, size+2)
		if _, err = io.ReadFull(in, word); err != nil {
			return nil, err
		}
		words[i] = string(word[:size])
	}
	return words, err
}

// A node that cannot take the first command of a pipeline now, and redirects the
// second, gets neither again: the race detector sees it if the reply to the second
// is read twice.
func TestACommandOfAPipelineIsReadFromOneNodeOfACluster(t *testing.T) {
	t.Parallel()
	second := scriptedNode(t, func(name, _ string) string {
		switch name {
		case "zcard":
			return ":7"
		case "evalsha":
			return "*2\r\n$2\r\nOK\r\n:7"
		}
		return "-ERR unknown command"
	})
	first := scriptedNode(t, func(name, key string) string {
		switch {
		case name != "zcard" && name != "evalsha":
			return "-ERR unknown command"
		case key == "{a}now":
			return "-TRYAGAIN it is on its way"
		}
		return "-MOVED 15495 " + second
	})
	client := redis.NewClusterClient(&redis.ClusterOptions{
		ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) {
			return []redis.ClusterSlot{{Start: 0, End: 16383, Nodes: []redis.ClusterNode{{Addr: first}}}}, nil
		},
		Protocol: 2, DisableIdentity: true, MaxRedirects: 3, MinRetryBackoff: time.Millisecond, MaxRetryBackoff: time.Millisecond,
	})
	defer client.Close()
	c := New(client, "caller", 0, false)
	c.Clock = NewClock(1)
	for range 20 {
		now, moved := ZCard("{a}now"), ZCard("{a}moved")
		_ = c.Do(t.Context(), now, moved)
		if !redis.HasErrorPrefix(now.Err, "TRYAGAIN") || moved.Val != 7 || moved.Err != nil {
			t.Fatalf("plain commands: %v, and %d, %v; want TRYAGAIN, and 7", now.Err, moved.Val, moved.Err)
		}
		results := c.Each(t.Context(), []Request{{Script: lua.Tally, Keys: []string{"{a}now"}}, {Script: lua.Tally, Keys: []string{"{a}moved"}}})
		if !redis.HasErrorPrefix(results[0].Err, "TRYAGAIN") || results[1].Err != nil || results[1].Reply.Now() != 7 {
			t.Fatalf("scripts: %v; want TRYAGAIN, and 7", results)
		}
	}
}
