package ledger

import (
	"context"
	"encoding/hex"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
)

// maxReceiptPostings is more than one request can have: three payers, three goals.
const maxReceiptPostings = 9

// Entry is a posting of a receipt, with its place in the chain.
type Entry struct {
	Key    string
	Amount timmy.Msat
	Place  int64
	Hash   string // hex
}

// Receipt is a charged request and the postings that charged it.
type Receipt struct {
	Reply   timmy.Reply
	Entries []Entry
}

// Receipt reads what a request cost and where that stands in the chain; what was
// not sealed yet is sealed first. NotFound: no such request. Conflict: it has not
// ended, or it cost nothing.
func (l *Ledger) Receipt(ctx context.Context, id timmy.RequestID) (r Receipt, err error) {
	sealed := false
	for range 2 {
		if r, sealed, err = l.receipt(ctx, id); err != nil || sealed {
			return r, err
		}
		if _, err := l.Seal(ctx); err != nil {
			return Receipt{}, err
		}
	}
	return Receipt{}, timmy.Errorf(timmy.Unavailable, "the books are being sealed, please try again in a moment")
}

func (l *Ledger) receipt(ctx context.Context, id timmy.RequestID) (r Receipt, sealed bool, err error) {
	err = l.read(ctx, func(q *db.Tx) error {
		row, ok, err := requestByID(q, id)
		if err != nil {
			return err
		}
		switch {
		case !ok || row.Command:
			return timmy.Errorf(timmy.NotFound, "no such request")
		case !row.State.Final():
			return timmy.Errorf(timmy.Conflict, "this request has not ended yet")
		case row.Charged+row.Absorbed == 0:
			return timmy.Errorf(timmy.Conflict, "this request cost nothing, so there is no receipt")
		}
		if r.Reply, err = row.reply(q); err != nil {
			return err
		}
		r.Entries = nil
		return q.Select(&r.Entries, entriesOf, "finish:"+row.ID+":", "finish:"+row.ID+";", maxReceiptPostings)
	})
	sealed = err == nil
	for _, e := range r.Entries {
		sealed = sealed && e.Place > 0
	}
	return r, sealed, err
}

// entriesOf are the postings of a request, with their places; +seq, or PostgreSQL may walk the
// table from its oldest row for their order.
const entriesOf = `SELECT p.key, p.amount, COALESCE(c.place, 0) AS place, COALESCE(c.hash, '') AS hash
	FROM postings AS p LEFT JOIN chain AS c ON c.posting = p.seq
	WHERE p.key >= ? AND p.key < ? AND ` + chargeKeys + ` ORDER BY +p.seq LIMIT ?`

// findWithin is how many of a key's latest requests are looked through for a part of an id.
const findWithin = 10_000

// Find lists up to two of a key's latest 10,000 requests (commands left out) whose id
// begins with part or, if it is a UUID, ends with it: the one that is part first, then the
// newest. A part that is not made of lower-case hex digits and dashes finds nothing.
func (l *Ledger) Find(ctx context.Context, k timmy.PubKey, part string) (ids []timmy.RequestID, err error) {
	if _, err := hex.DecodeString(padded(part)); err != nil || k.IsZero() {
		return nil, nil
	}
	latest, args := latestAsked(l.db.Dialect(), `r.id, r.seq`, k, findWithin)
	err = l.read(ctx, func(q *db.Tx) error {
		return q.Select(&ids, `SELECT id FROM `+latest+`
			WHERE (id >= ? AND id < ?) OR (length(id) = ? AND substr(id, length(id) - ?) = ?)
			ORDER BY CASE WHEN id = ? THEN 0 ELSE 1 END, seq DESC LIMIT 2`,
			append(args, part, part+"g", timmy.UUIDLen, len(part)-1, part, part)...)
	})
	return ids, err
}

// padded is a prefix without its dashes, of even length.
func padded(prefix string) string {
	b := make([]byte, 0, len(prefix)+1)
	for i := range min(len(prefix), 64) {
		if prefix[i] != '-' {
			b = append(b, prefix[i])
		}
	}
	if len(b)%2 == 1 {
		b = append(b, '0')
	}
	return string(b)
}
