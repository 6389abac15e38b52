package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// chat runs the command with this input.
func chat(t *testing.T, input string, args ...string) transcript {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), append([]string{"chat"}, args...), strings.NewReader(input), &out, &errs)
	return transcript{code, out.String(), errs.String()}
}

// door is a server before which there may be replicas: it does to each posted event
// what it is told, in turn, and then always the last.
func door(t *testing.T, each ...http.HandlerFunc) (url string, ids func() []string) {
	t.Helper()
	var mu sync.Mutex
	var seen []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/healthz" {
			return
		}
		var event struct{ ID string }
		if err := json.NewDecoder(req.Body).Decode(&event); err != nil {
			t.Error(err)
		}
		mu.Lock()
		n := len(seen)
		seen = append(seen, event.ID)
		mu.Unlock()
		each[min(n, len(each)-1)](w, req)
	}))
	t.Cleanup(server.Close)
	return server.URL, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen)
	}
}

// responds returns a handler that responds with a status and a body.
func responds(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// lost closes the connection without a response.
func lost(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func TestChatTalksToAReplica(t *testing.T) {
	t.Parallel()
	f := newRunning(t)
	chat(t, "a pizza\n\n  \nlarge\n", f.url, "--session", "ann").check(t, transcript{Stdout: `
One pizza! Which size: small, medium or large?
And on it: basil, mushrooms or olives?
`})
	// Its ids are new: the same words in another run are no duplicates.
	chat(t, "basil\nlarge", f.url+"/", "--session", "ann").check(t, transcript{Stdout: `
A large pizza with basil. Shall I order it?
Yes or no?
`})
	show := rawCommand(t, map[string]string{"REDIS_URL": f.server.URL()}, "show", "pizza/ann").Stdout
	if !regexp.MustCompile(`(?s)state +confirm\n.*topping +"basil"\n`).MatchString(show) {
		t.Errorf("the session is\n%s", show)
	}
}

func TestChatPostsALineAgainUnderItsIDUntilThereIsAReply(t *testing.T) {
	t.Parallel()
	yes := responds(http.StatusOK, `{"outcome": "handled", "replies": ["Yes.\nAnd \u001b[2J"]}`)
	url, ids := door(t, responds(http.StatusServiceUnavailable, "the server is away\n"), lost, responds(http.StatusBadGateway, ""), yes)
	chat(t, "one\ntwo\n", url).check(t, transcript{
		Stdout: "Yes.\nAnd \\x1b[2J\nYes.\nAnd \\x1b[2J\n",
		Err:    "no replica is ready: 503 Service Unavailable: the server is away; the line is posted again\n",
	})
	got := ids()
	if len(got) != 5 || got[0] == "" || got[4] == got[0] || !slices.Equal(got[:4], slices.Repeat(got[:1], 4)) {
		t.Errorf("the posted ids are %q", got)
	}
}

func TestChatSaysWhatItCannotDo(t *testing.T) {
	t.Parallel()
	handled := `{"outcome": "handled", "replies": ["Yes."]}`
	busy, _ := door(t, responds(http.StatusServiceUnavailable, ""))
	refuses, _ := door(t, responds(http.StatusBadRequest, "text too long"), responds(http.StatusOK, `{"outcome": "dead", "reason": "no such size"}`),
		responds(http.StatusOK, `{"outcome": "dropped"}`), responds(http.StatusOK, handled))
	page, _ := door(t, responds(http.StatusOK, "<html>"))
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	gone := httptest.NewServer(nil)
	gone.Close()
	address := strings.TrimPrefix(gone.URL, "http://")
	for _, test := range []struct {
		name, input string
		args        []string
		want        transcript
	}{
		{"no address", "", nil, transcript{2, "", "error: chat needs one address, not 0\nhint: botsession chat http://127.0.0.1:8080\n"}},
		{"no scheme", "", []string{"localhost:8080"}, transcript{2, "", "error: the address does not begin with http:// or https://\nhint: botsession chat http://127.0.0.1:8080\n"}},
		{"no URL", "", []string{"127.0.0.1:8080"}, transcript{2, "", "error: the address is no URL\nhint: botsession chat http://127.0.0.1:8080\n"}},
		{"a Redis", "", []string{"redis://127.0.0.1"}, transcript{2, "", "error: the address does not begin with http:// or https://\nhint: botsession chat http://127.0.0.1:8080\n"}},
		{"no host", "", []string{"http://:80/"}, transcript{2, "", "error: the address has no host\nhint: botsession chat http://127.0.0.1:8080\n"}},
		{"more than an address", "", []string{"http://h/?a=b"}, transcript{2, "", "error: the address has something behind its path\nhint: botsession chat http://127.0.0.1:8080\n"}},
		{"no time", "", []string{"http://h", "--timeout", "0s"}, transcript{2, "", "error: --timeout 0s is not positive\nhint: botsession chat --help\n"}},
		{"nobody is there", "a pizza\n", []string{strings.Replace(gone.URL, "http://", "http://u:s3cret@", 1)}, transcript{4, "",
			"error: http://u:xxxxx@" + address + ": nobody replies: dial tcp " + address + ": connect: connection refused\nhint: does a fleet run there? docker compose up starts one\n"}},
		{"something else is there", "a pizza\n", []string{other.URL}, transcript{1, "",
			"error: " + other.URL + " is not the address of a replica: 404 Not Found\nhint: the address is that of a replica, or of the proxy before it\n"}},
		{"a page is there", "a pizza\n", []string{page}, transcript{1, "",
			"error: " + page + " is not the address of a replica: invalid character '<' looking for beginning of value\nhint: the address is that of a replica, or of the proxy before it\n"}},
		{"no replica gets ready", "a pizza\n", []string{busy, "--timeout", "20ms"}, transcript{4, "",
			"no replica is ready: 503 Service Unavailable; the line is posted again\n" +
				"error: " + busy + ": no replica is ready: 503 Service Unavailable\nhint: do replicas run there, and does their server? docker compose ps\n"}},
		{"lines that are not handled", "one\ntwo\nthree\nfour\n", []string{refuses}, transcript{1, "Yes.\n",
			"error: the event was not accepted: 400 Bad Request: text too long\nerror: the event is a dead letter: no such size\nerror: the event was dropped: its session was destroyed, or what waited was dropped by hand\n"}},
		{"a line that is too long", strings.Repeat("a", 1<<20+1), []string{page}, transcript{1, "", "error: read the input: bufio.Scanner: token too long\n"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			chat(t, test.input, test.args...).check(t, test.want)
		})
	}
}

func TestAnInterruptEndsTheChat(t *testing.T) {
	t.Parallel()
	asked := make(chan bool, 1)
	url, _ := door(t, responds(http.StatusOK, `{"outcome": "handled", "replies": ["Yes."]}`), func(_ http.ResponseWriter, req *http.Request) {
		asked <- true
		<-req.Context().Done()
	})
	out, screen := io.Pipe()
	read := bufio.NewReader(out)
	for _, test := range []struct {
		what string
		wait func()
		want transcript
	}{
		{"while nothing is under way", func() { _, _ = read.ReadString('\n') }, transcript{}},
		{"while a line has no reply", func() { receive(t, "the line is posted", asked) }, transcript{Code: 1, Err: "error: interrupted\n"}},
	} {
		t.Run(test.what, func(t *testing.T) {
			ctx, interrupt := context.WithCancel(t.Context())
			in, keys := io.Pipe()
			defer keys.Close()
			ended := make(chan transcript, 1)
			go func() {
				var errs bytes.Buffer
				code := run(ctx, []string{"chat", url}, in, screen, &errs)
				ended <- transcript{Code: code, Err: errs.String()}
			}()
			io.WriteString(keys, "a pizza\n")
			test.wait()
			interrupt()
			receive(t, "the chat ends", ended).check(t, test.want)
		})
	}
}
