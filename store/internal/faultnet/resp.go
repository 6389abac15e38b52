package faultnet

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// This is as much of the Redis protocol as it takes to tell where a message
// ends: https://redis.io/docs/latest/develop/reference/protocol-spec

// readRequest reads one command, and returns it whole and its name in capitals.
func readRequest(in *bufio.Reader) (raw []byte, command string, err error) {
	raw, err = readMessage(in)
	if err != nil {
		return nil, "", err
	}
	// *3 CRLF $7 CRLF EVALSHA CRLF …
	if parts := bytes.SplitN(raw, []byte("\r\n"), 4); raw[0] == '*' && len(parts) == 4 {
		command = strings.ToUpper(string(parts[2]))
	}
	return raw, command, nil
}

// readMessage reads one message of any kind, in any version of the protocol,
// with all that is nested in it.
func readMessage(in *bufio.Reader) ([]byte, error) {
	var raw []byte
	for open := 1; open > 0; open-- { // messages that still belong to it
		line, err := in.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		raw = append(raw, line...)
		head := strings.TrimRight(string(line), "\r\n")
		if head == "" {
			return nil, fmt.Errorf("faultnet: %q begins no message", line)
		}
		if strings.IndexByte("+-:_#,(", head[0]) >= 0 {
			continue
		}
		n, err := strconv.Atoi(head[1:])
		if err != nil {
			return nil, fmt.Errorf("faultnet: %q begins no message: %w", line, err)
		}
		switch n = max(n, 0); head[0] {
		case '$', '!', '=':
			if head[1] == '-' { // null
				continue
			}
			body := make([]byte, n+2)
			if _, err := io.ReadFull(in, body); err != nil {
				return nil, err
			}
			raw = append(raw, body...)
		case '*', '~', '>':
			open += n
		case '%':
			open += 2 * n
		case '|': // attributes, and then what they belong to
			open += 2*n + 1
		default:
			return nil, fmt.Errorf("faultnet: %q begins no message", line)
		}
	}
	return raw, nil
}
