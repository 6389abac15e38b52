package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/botsession/botsession/session"
)

// A Client is a user's end of replicas without a demo. It is made by [NewClient].
type Client struct {
	front *url.URL
	http  *http.Client
}

// Why a request of a Client failed. After the first two the same request may succeed
// later; no other error ends by itself.
var (
	ErrNobody  = errors.New("nobody replies")             // ErrNobody says that there was no connection, or that it was lost.
	ErrNotNow  = errors.New("no replica is ready")        // ErrNotNow says that a replica, or a proxy before it, cannot do it now.
	ErrRefused = errors.New("the event was not accepted") // ErrRefused says that this event will never be accepted.
)

// NewClient returns a Client of the replicas at an address: http://HOST:PORT, or
// https, perhaps with a path.
func NewClient(address string) (*Client, error) {
	front, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, errors.New("the address is no URL")
	case front.Scheme != "http" && front.Scheme != "https":
		return nil, errors.New("the address does not begin with http:// or https://")
	case front.Hostname() == "":
		return nil, errors.New("the address has no host")
	case front.RawQuery != "" || front.Fragment != "":
		return nil, errors.New("the address has something behind its path")
	}
	return &Client{front, keepAlive(1)}, nil
}

// String returns the address, without a password.
func (c *Client) String() string { return c.front.Redacted() }

// Ready asks whether a replica can be sent events. It returns nil, ErrNobody, ErrNotNow,
// or why the address seems to be something else's.
func (c *Client) Ready(ctx context.Context) error {
	_, err := c.do(ctx, http.MethodGet, "healthz", nil)
	return err
}

// Say posts an event and returns the replies of its turn. After ErrNobody and ErrNotNow
// it is not known whether the event was accepted: the same one is to be posted again,
// with the same id. Say returns ErrRefused, or [session.ErrDead] or [session.ErrDropped]
// for an event that was accepted and not handled.
func (c *Client) Say(ctx context.Context, sessionID, eventID, text string) ([]string, error) {
	body, err := json.Marshal(webhookEvent{Session: sessionID, ID: eventID, Text: text})
	if err != nil {
		return nil, err
	}
	content, err := c.do(ctx, http.MethodPost, "webhook", body)
	if err != nil {
		return nil, err
	}
	var response webhookResponse
	if err := json.Unmarshal(content, &response); err != nil {
		return nil, fmt.Errorf("%s is not the address of a replica: %w", c, err)
	}
	switch response.Outcome {
	case session.Dead:
		return nil, fmt.Errorf("%w: %s", session.ErrDead, response.Reason)
	case session.Dropped:
		return nil, session.ErrDropped
	}
	return response.Replies, nil
}

// do sends one request, and returns the body of a response with status 200.
func (c *Client) do(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.front.JoinPath(path).String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNobody, errors.Unwrap(err)) // without the URL
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	said := response.Status
	if text, _, _ := strings.Cut(strings.TrimSpace(string(content)), "\n"); text != "" {
		said += ": " + text
	}
	switch status := response.StatusCode; {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrNobody, err)
	case status == http.StatusOK:
		return content, nil
	case status == http.StatusBadRequest:
		return nil, fmt.Errorf("%w: %s", ErrRefused, said)
	case status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout:
		return nil, fmt.Errorf("%w: %s", ErrNotNow, said)
	}
	return nil, fmt.Errorf("%s is not the address of a replica: %s", c, response.Status)
}
