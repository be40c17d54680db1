package load

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// handshakeWithin bounds the making of a connection.
const handshakeWithin = 20 * time.Second

// maxMessage is the longest message that is read.
const maxMessage = 4 << 20

// Socket is a websocket client for load: one writer, one reader, whole messages. Its
// mask is zero, so that a frame is sent as it was built.
type Socket struct {
	conn net.Conn
	in   *bufio.Reader
	head [14]byte
	buf  []byte
}

// Connect opens a websocket at host:port.
func Connect(addr string) (*Socket, error) {
	conn, err := net.DialTimeout("tcp", addr, handshakeWithin)
	if err != nil {
		return nil, err
	}
	s := &Socket{conn: conn, in: bufio.NewReaderSize(conn, 4<<10)}
	if err := s.handshake(addr); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return s, nil
}

func (s *Socket) handshake(addr string) error {
	if err := s.conn.SetDeadline(time.Now().Add(handshakeWithin)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(s.conn, "GET / HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: bG9hZCBmb3IgYSByZWxheQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", addr)
	if err != nil {
		return err
	}
	res, err := http.ReadResponse(s.in, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("no websocket: %s", res.Status)
	}
	return s.conn.SetDeadline(time.Time{})
}

// Deadline bounds what follows; the zero time lifts it.
func (s *Socket) Deadline(t time.Time) error { return s.conn.SetDeadline(t) }

// Close cuts the connection.
func (s *Socket) Close() error { return s.conn.Close() }

const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

// Write sends a text message.
func (s *Socket) Write(message []byte) error { return s.frame(opText, message) }

func (s *Socket) frame(op byte, payload []byte) error {
	h := append(s.head[:0], 0x80|op)
	switch n := len(payload); {
	case n < 126:
		h = append(h, 0x80|byte(n))
	case n < 1<<16:
		h = binary.BigEndian.AppendUint16(append(h, 0x80|126), uint16(n))
	default:
		h = binary.BigEndian.AppendUint64(append(h, 0x80|127), uint64(n))
	}
	h = append(h, 0, 0, 0, 0)
	both := net.Buffers{h, payload}
	_, err := both.WriteTo(s.conn)
	return err
}

// Read returns the next message, which is good until the next Read. Pings are
// answered.
func (s *Socket) Read() ([]byte, error) {
	s.buf = s.buf[:0]
	for {
		op, last, err := s.piece()
		if err != nil {
			return nil, err
		}
		switch op {
		case opClose:
			return nil, io.EOF
		case opPing:
			if err := s.frame(opPong, nil); err != nil {
				return nil, err
			}
		case opPong:
		default:
			if last {
				return s.buf, nil
			}
		}
	}
}

// piece reads one frame; what is not control is added to buf.
func (s *Socket) piece() (op byte, last bool, err error) {
	if _, err := io.ReadFull(s.in, s.head[:2]); err != nil {
		return 0, false, err
	}
	op, last = s.head[0]&0x0f, s.head[0]&0x80 != 0
	n := uint64(s.head[1] & 0x7f)
	switch n {
	case 126:
		_, err = io.ReadFull(s.in, s.head[:2])
		n = uint64(binary.BigEndian.Uint16(s.head[:2]))
	case 127:
		_, err = io.ReadFull(s.in, s.head[:8])
		n = binary.BigEndian.Uint64(s.head[:8])
	}
	if err != nil {
		return 0, false, err
	}
	if n+uint64(len(s.buf)) > maxMessage {
		return 0, false, errors.New("message too long")
	}
	if op >= opClose {
		_, err = s.in.Discard(int(n))
		return op, last, err
	}
	from := len(s.buf)
	if need := from + int(n); need > cap(s.buf) {
		s.buf = append(make([]byte, 0, 2*need), s.buf...)
	}
	s.buf = s.buf[:from+int(n)]
	_, err = io.ReadFull(s.in, s.buf[from:])
	return op, last, err
}
