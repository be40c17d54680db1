package relay

import (
	"bytes"
	"net"
	"strings"
	"sync"
	"testing"
)

// counted is a connection that remembers what was written, and how often.
type counted struct {
	net.Conn
	all    bytes.Buffer
	writes int
}

func (c *counted) Write(b []byte) (int, error) { c.writes++; return c.all.Write(b) }

// TestWhatIsHeldIsSentTogether excludes bytes that are lost, late or out of order when
// more follows, and an answer that is held without end.
func TestWhatIsHeldIsSentTogether(t *testing.T) {
	to := &counted{}
	c := &cork{Conn: to, pool: &sync.Pool{New: func() any { return new([]byte) }}}
	write := func(s string, more bool, writes int) {
		t.Helper()
		c.hold(more)
		if n, err := c.Write([]byte(s)); n != len(s) || err != nil || to.writes != writes {
			t.Fatalf("%d bytes, %v, %d writes; want %d", n, err, to.writes, writes)
		}
	}
	write("a", false, 1)
	write("b", true, 1)
	write("c", true, 1)
	write("d", false, 2)
	write(strings.Repeat("e", maxHeld), true, 3)
	write("f", false, 4)
	write("g", true, 4)
	for range 2 {
		if err := c.flush(); err != nil || to.writes != 5 {
			t.Errorf("flushed: %v, %d writes", err, to.writes)
		}
	}
	if got := strings.ReplaceAll(to.all.String(), "ee", ""); got != "abcdfg" {
		t.Errorf("written: %.100s", got)
	}
}
