package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Caller is an HTTP client for load: one connection that stays open, one call at a time,
// and answers that say their length. It takes half of what net/http's client does, so
// that a tower on the same processors is measured and not its caller.
type Caller struct {
	addr string
	conn net.Conn
	in   *bufio.Reader
	out  bytes.Buffer
	body []byte
}

// Call opens a connection to host:port.
func Call(addr string) (*Caller, error) {
	conn, err := net.DialTimeout("tcp", addr, handshakeWithin)
	if err != nil {
		return nil, err
	}
	return &Caller{addr: addr, conn: conn, in: bufio.NewReaderSize(conn, 4<<10)}, nil
}

// Close ends the connection.
func (c *Caller) Close() error { return c.conn.Close() }

// Do makes one call. The answer is good until the next one. bearer and body may be empty.
func (c *Caller) Do(method, path, bearer, body string) (status int, answer []byte, err error) {
	c.out.Reset()
	fmt.Fprintf(&c.out, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", method, path, c.addr, len(body))
	if bearer != "" {
		c.out.WriteString("Authorization: Bearer " + bearer + "\r\n")
	}
	c.out.WriteString("\r\n" + body)
	if err := c.conn.SetDeadline(time.Now().Add(handshakeWithin)); err != nil {
		return 0, nil, err
	}
	if _, err := c.conn.Write(c.out.Bytes()); err != nil {
		return 0, nil, err
	}
	return c.answer()
}

func (c *Caller) answer() (status int, answer []byte, err error) {
	length := -1
	for first := true; ; first = false {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return 0, nil, err
		}
		text := strings.TrimSpace(string(line))
		switch name, value, _ := strings.Cut(text, ":"); {
		case first:
			_, rest, _ := strings.Cut(text, " ")
			if status, err = strconv.Atoi(rest[:min(3, len(rest))]); err != nil {
				return 0, nil, fmt.Errorf("no status in %q", text)
			}
		case strings.EqualFold(name, "content-length"):
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return 0, nil, err
			}
		case text == "":
			if length < 0 || length > maxMessage {
				return 0, nil, errors.New("an answer that does not say its length")
			}
			if cap(c.body) < length {
				c.body = make([]byte, length)
			}
			c.body = c.body[:length]
			_, err = io.ReadFull(c.in, c.body)
			return status, c.body, err
		}
	}
}
