package ledger

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/failpoint"
)

const (
	// sealBatch is how many postings one transaction of the sealer takes: a few
	// milliseconds of the writer.
	sealBatch = 1024
	// sealBehind is how far behind the newest sealed posting an unsealed one is
	// looked for: on PostgreSQL a transaction may commit after one with later
	// numbers. SQLite has one writer.
	sealBehind = 1000
	// checkPage is how many places of the chain are read at once: no snapshot is
	// held for long.
	checkPage = 5000
	// maxBreaks bounds what a check of the chain names.
	maxBreaks = 1000
)

// chainDomain begins what a place's hash is made of, so that no other hash is one.
const chainDomain = "timmy/chain/1"

// Link is a posting's place in the chain. Places begin at 1.
type Link struct {
	Place int64
	Hash  [32]byte
}

// link is the place after prev, given to p: the SHA-256 of the domain, prev's
// hash, and the posting's canonical encoding, as docs/money.md has it byte for
// byte.
func link(prev Link, p timmy.Posting) Link {
	b := append(make([]byte, 0, 512), chainDomain...)
	b = append(b, prev.Hash[:]...)
	for _, n := range []int64{prev.Place + 1, p.Seq, int64(p.Amount), p.At} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	for _, s := range []string{p.Key, string(p.Source), string(p.Destination)} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	return Link{Place: prev.Place + 1, Hash: sha256.Sum256(b)}
}

// linkRow is a place as it is stored, with its posting; Seq 0: the posting is gone.
type linkRow struct {
	Place               int64
	Posting             int64
	Hash                string
	Seq                 int64
	Key                 string
	Source, Destination timmy.Account
	Amount              timmy.Msat
	At                  int64
}

func (r *linkRow) link() (Link, error) {
	l := Link{Place: r.Place}
	b, err := hex.DecodeString(r.Hash)
	if err != nil || len(b) != len(l.Hash) {
		return l, bug("place %d of the chain has no hash", r.Place)
	}
	copy(l.Hash[:], b)
	return l, nil
}

// Seal gives committed postings that have none their place in the chain, one batch
// at most, and says how many. Two sealers cannot fork it: a place is a primary key.
func (l *Ledger) Seal(ctx context.Context) (n int, err error) {
	for {
		last, ps, err := l.unsealed(ctx)
		if err != nil || len(ps) == 0 {
			return 0, err
		}
		links := make([]Link, len(ps))
		prev := last
		for i, p := range ps {
			links[i] = link(prev, p)
			prev = links[i]
		}
		moved := false
		err = l.write(ctx, failpoint.LedgerSeal, func(t *txn) error {
			now, err := head(t.Tx)
			if moved = now != last; err != nil || moved {
				return err
			}
			for i, at := range links {
				err := t.Later(nil, `INSERT INTO chain (place, posting, hash) VALUES (?, ?, ?)`,
					at.Place, ps[i].Seq, hex.EncodeToString(at.Hash[:]))
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
		if !moved {
			return len(ps), nil
		}
	}
}

// unsealed reads the last place and a batch of the postings that follow it. The writer has
// no part in this, nor in their hashes.
func (l *Ledger) unsealed(ctx context.Context) (last Link, ps []timmy.Posting, err error) {
	ps = make([]timmy.Posting, 0, sealBatch)
	err = l.read(ctx, func(q *db.Tx) (err error) {
		if last, err = head(q); err != nil {
			return err
		}
		var newest int64
		if err := q.Get(&newest, `SELECT COALESCE(MAX(posting), 0) FROM chain`); err != nil {
			return err
		}
		if q.Dialect() != db.SQLite {
			newest -= sealBehind
		}
		return q.Select(&ps, `SELECT seq, key, source, destination, amount, at FROM postings
			WHERE seq > ? AND NOT EXISTS (SELECT 1 FROM chain WHERE posting = postings.seq)
			ORDER BY seq LIMIT ?`, newest, sealBatch)
	})
	return last, ps, err
}

// head is the last place; the zero Link when there is none.
func head(q *db.Tx) (Link, error) {
	var r linkRow
	err := q.Get(&r, `SELECT place, posting, hash FROM chain ORDER BY place DESC LIMIT 1`)
	if errors.Is(err, sql.ErrNoRows) {
		return Link{}, nil
	}
	if err != nil {
		return Link{}, err
	}
	return r.link()
}

// Break is a place where the chain does not follow from the postings.
type Break struct {
	Place   int64  // 0: the posting has none
	Posting int64  // its seq
	Key     string // its key, where the posting is still there
	What    string
}

// String names the posting and what is wrong with it.
func (b Break) String() string {
	return fmt.Sprintf("posting %d (%s), place %d of the chain: %s", b.Posting, b.Key, b.Place, b.What)
}

// VerifyChain recomputes the whole chain from the postings and names each posting
// that was changed, removed or left out since it was sealed.
func (l *Ledger) VerifyChain(ctx context.Context) ([]Break, error) {
	breaks, _, err := l.checkChain(ctx, Link{})
	if err != nil {
		return nil, err
	}
	var lost []Break
	err = l.read(ctx, func(q *db.Tx) error {
		return q.Select(&lost, `SELECT seq AS posting, key, 'was never sealed' AS what FROM postings
			WHERE seq <= (SELECT COALESCE(MAX(posting), 0) FROM chain) - ?
			AND NOT EXISTS (SELECT 1 FROM chain WHERE posting = postings.seq) ORDER BY seq LIMIT ?`, sealBehind, maxBreaks)
	})
	return append(breaks, lost...), err
}

// VerifyTail checks the chain from the checkpoint that the last call left, and
// leaves a new one when nothing is wrong, so that starting does not grow with the
// age of the books.
func (l *Ledger) VerifyTail(ctx context.Context) ([]Break, error) {
	from, err := l.checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	breaks, last, err := l.checkChain(ctx, from)
	if err != nil || len(breaks) > 0 || last == from {
		return breaks, err
	}
	return nil, l.write(ctx, failpoint.LedgerCheckpoint, func(t *txn) error {
		_, err := t.Exec(`INSERT INTO meta (key, value) VALUES ('chain:checked', ?)
			ON CONFLICT (key) DO UPDATE SET value = excluded.value`, fmt.Sprintf("%d %x", last.Place, last.Hash))
		return err
	})
}

// checkpoint is the place up to which the chain was found right.
func (l *Ledger) checkpoint(ctx context.Context) (from Link, err error) {
	var text string
	err = l.read(ctx, func(q *db.Tx) error {
		return q.Get(&text, `SELECT value FROM meta WHERE key = 'chain:checked'`)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return Link{}, nil
	}
	if err != nil {
		return Link{}, err
	}
	var hash []byte
	if _, err := fmt.Sscanf(text, "%d %x", &from.Place, &hash); err != nil || len(hash) != len(from.Hash) {
		return Link{}, bug("the chain's checkpoint cannot be read")
	}
	copy(from.Hash[:], hash)
	return from, nil
}

// checkChain recomputes the chain after from, whose own hash must be the stored
// one, page by page. A place that is off is named once: what follows is computed
// from the hash that is stored there.
func (l *Ledger) checkChain(ctx context.Context, from Link) (breaks []Break, last Link, err error) {
	last = from
	if from.Place > 0 {
		breaks, err = l.checkStored(ctx, from)
	}
	for err == nil && len(breaks) < maxBreaks {
		var rows []linkRow
		err = l.read(ctx, func(q *db.Tx) error {
			return q.Select(&rows, `SELECT c.place, c.posting, c.hash, COALESCE(p.seq, 0) AS seq, COALESCE(p.key, '') AS key,
					COALESCE(p.source, '') AS source, COALESCE(p.destination, '') AS destination,
					COALESCE(p.amount, 0) AS amount, COALESCE(p.at, 0) AS at
				FROM chain AS c LEFT JOIN postings AS p ON p.seq = c.posting
				WHERE c.place > ? ORDER BY c.place LIMIT ?`, last.Place, checkPage)
		})
		if err != nil || len(rows) == 0 {
			break
		}
		for i := range rows {
			if what := rows[i].fault(last); what != "" {
				breaks = append(breaks, Break{rows[i].Place, rows[i].Posting, rows[i].Key, what})
			}
			if last, err = rows[i].link(); err != nil {
				return breaks, last, err
			}
		}
	}
	return breaks, last, err
}

// fault says what is wrong with a place, given the one before.
func (r *linkRow) fault(prev Link) string {
	want := link(prev, timmy.Posting{
		Seq: r.Seq, Key: r.Key, Source: r.Source, Destination: r.Destination, Amount: r.Amount, At: r.At,
	})
	switch {
	case r.Place != want.Place:
		return fmt.Sprintf("place %d is missing before it", want.Place)
	case r.Seq == 0:
		return "the posting is gone"
	case hex.EncodeToString(want.Hash[:]) != r.Hash:
		return "the posting is not what was sealed"
	}
	return ""
}

func (l *Ledger) checkStored(ctx context.Context, from Link) ([]Break, error) {
	var has string
	err := l.read(ctx, func(q *db.Tx) error { return q.Get(&has, `SELECT hash FROM chain WHERE place = ?`, from.Place) })
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	if has != hex.EncodeToString(from.Hash[:]) {
		return []Break{{Place: from.Place, What: "its hash is not the one that was checked"}}, nil
	}
	return nil, nil
}
