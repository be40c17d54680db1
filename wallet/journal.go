package wallet

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/btcsuite/btcd/btcec/v2"

	"github.com/timmy-tower/timmy"
)

// line is one line of a journal: a key, an invoice or a payment of the test
// wallet, or a promise of a lightning address.
type line struct {
	Op       string      `json:"op"` // key, issue, pay, send, promise
	Key      string      `json:"key,omitempty"`
	Hash     *timmy.Hash `json:"hash,omitempty"`
	Preimage string      `json:"preimage,omitempty"`
	Ref      string      `json:"ref,omitempty"`
	Bolt11   string      `json:"bolt11,omitempty"`
	Amount   timmy.Msat  `json:"amount,omitempty"`
	Expires  int64       `json:"expires,omitempty"` // unix seconds
	Seq      int64       `json:"seq,omitempty"`
	Received timmy.Msat  `json:"received,omitempty"`
	At       int64       `json:"at,omitempty"` // unix milliseconds
	Verify   string      `json:"verify,omitempty"`
	Fee      timmy.Msat  `json:"fee,omitempty"`
}

func issueLine(i *fakeInvoice) line {
	return line{
		Op: "issue", Hash: &i.Hash, Preimage: hex.EncodeToString(i.preimage[:]), Ref: i.ref,
		Bolt11: i.Bolt11, Amount: i.Amount, Expires: i.Expires.Unix(),
	}
}

func payLine(i *fakeInvoice) line {
	return line{Op: "pay", Hash: &i.Hash, Seq: i.seq, Received: i.received, At: i.at.UnixMilli()}
}

// replay applies a line of the journal that was read at start.
func (f *Fake) replay(l line) error {
	switch l.Op {
	case "key":
		raw, err := hex.DecodeString(l.Key)
		if err != nil || len(raw) != 32 {
			return errors.New("bad key")
		}
		f.key, _ = btcec.PrivKeyFromBytes(raw)
		return nil
	case "issue":
		return f.replayIssue(l)
	case "pay":
		return f.replayPay(l)
	case "send":
		return f.replaySend(l)
	}
	return fmt.Errorf("unknown line %.20q", l.Op)
}

func (f *Fake) replayIssue(l line) error {
	if l.Hash == nil || len(f.invoices) >= maxFakeInvoices {
		return errors.New("invoice without a hash, or too many")
	}
	inv := &fakeInvoice{ref: l.Ref}
	inv.Hash, inv.Bolt11, inv.Amount, inv.Expires = *l.Hash, l.Bolt11, l.Amount, time.Unix(l.Expires, 0).UTC()
	raw, err := hex.DecodeString(l.Preimage)
	if err != nil || len(raw) != 32 {
		return errors.New("bad preimage")
	}
	inv.preimage = [32]byte(raw)
	f.invoices[inv.Hash], f.byText[inv.Bolt11] = inv, inv
	return nil
}

func (f *Fake) replayPay(l line) error {
	if l.Hash == nil || f.invoices[*l.Hash] == nil || l.Seq != int64(len(f.settled))+1 {
		return errors.New("a payment out of order or without its invoice")
	}
	inv := f.invoices[*l.Hash]
	inv.seq, inv.received, inv.at = l.Seq, l.Received, time.UnixMilli(l.At).UTC()
	f.settled = append(f.settled, inv)
	return nil
}

// journal is an append-only file of JSON lines. What sync returned for is on
// disk; writers that wait together share one fsync.
type journal struct {
	mu      sync.Mutex // of written, broken and the order of writes
	file    *os.File
	written int64
	broken  error // after a failed fsync, or a torn line that stays, nothing more is promised

	syncing sync.Mutex // held during the fsync
	synced  int64      // under mu
}

// openJournal reads every whole line into each and cuts off a torn last one.
func openJournal(path string, each func(line) error) (*journal, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	j := &journal{file: file}
	err = j.load(each)
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return j, nil
}

// load replays the file and leaves the place to write at its end.
func (j *journal) load(each func(line) error) error {
	r := bufio.NewReaderSize(j.file, maxJournalLine)
	n := 0
	for {
		raw, err := r.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			break // what is left of raw is torn: its writer was never answered
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n+1, err)
		}
		n++
		var l line
		if err := json.Unmarshal(raw, &l); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if err := each(l); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		j.written += int64(len(raw))
	}
	if err := j.file.Truncate(j.written); err != nil {
		return err
	}
	if _, err := j.file.Seek(j.written, io.SeekStart); err != nil {
		return err
	}
	j.synced = j.written
	return j.file.Sync()
}

// append writes a line and returns where it ends. It is durable once durable()
// has reached that place.
func (j *journal) append(l line) (int64, error) {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(l); err != nil {
		return 0, err
	}
	if b.Len() > maxJournalLine {
		return 0, errors.New("journal: line too long")
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken != nil {
		return 0, j.broken
	}
	if _, err := j.file.Write(b.Bytes()); err != nil {
		err = fmt.Errorf("journal: %w", err)
		j.broken = j.cutBack()
		return 0, errors.Join(err, j.broken)
	}
	j.written += int64(b.Len())
	return j.written, nil
}

// cutBack removes what a failed write left of its line. A full disk takes the first
// half of one; the next line, once there is room, must not be its second. j.mu is held.
func (j *journal) cutBack() error {
	if err := j.file.Truncate(j.written); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if _, err := j.file.Seek(j.written, io.SeekStart); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// sync makes everything durable that was written before the call.
func (j *journal) sync() error {
	j.mu.Lock()
	want := j.written
	j.mu.Unlock()
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.mu.Lock()
	end, done, broken := j.written, j.synced >= want, j.broken
	j.mu.Unlock()
	if broken != nil || done {
		return broken
	}
	err := j.file.Sync()
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		j.broken = fmt.Errorf("journal: %w", err)
		return j.broken
	}
	j.synced = end
	return nil
}

// durable is the place up to which the file is on disk.
func (j *journal) durable() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.synced
}

func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken == nil {
		j.broken = errors.New("journal: closed")
	}
	return j.file.Close()
}

// syncDir makes a new file's name durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
