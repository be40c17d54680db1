package ledger

import (
	"slices"
	"strings"

	"github.com/timmy-tower/timmy"
)

// background is what the start of a request has to know; of what is not there, zeros.
type background struct {
	known     bool // the request is in the book
	own, pool timmy.Balance
	after     timmy.RequestID // whose answer is the last of the conversation
	turns     string
	asker     srecord
	session   srow // that pays, if one does
}

// backgroundColumns and backgroundTables make one row, whatever of it is there.
const (
	isKnown           = `SELECT CASE WHEN EXISTS (SELECT 1 FROM requests WHERE id = ?) THEN 1 ELSE 0 END, `
	backgroundColumns = `COALESCE(p.posted, 0), COALESCE(p.held, 0), COALESCE(h.posted, 0), COALESCE(h.held, 0),
		COALESCE(c.last, ''), COALESCE(c.turns, ''), COALESCE(s.asked, 0), COALESCE(s.score, 0), COALESCE(s.scored, 0),
		COALESCE(s.completed, 0), COALESCE(s.refused, 0), COALESCE(s.paid, 0), COALESCE(s.first_seen, 0),
		COALESCE(s.last_seen, 0), COALESCE(s.granted, 0), COALESCE(s.day, 0)`
	backgroundTables = ` FROM (SELECT 1 AS one) AS o LEFT JOIN accounts AS p ON p.name = ? LEFT JOIN accounts AS h ON h.name = ?
		LEFT JOIN conversations AS c ON c.thread = ?`

	backgroundQuery        = `SELECT ` + backgroundColumns + backgroundTables + ` LEFT JOIN standings AS s ON s.key = ?`
	sessionBackgroundQuery = `SELECT ` + backgroundColumns + `, COALESCE(x.id, ''), COALESCE(x.owner, ''), COALESCE(x.state, ''),
			COALESCE(x.expires, 0), COALESCE(x.created, 0), COALESCE(x.bearer, 0), COALESCE(x.used, 0), COALESCE(x.drawn, 0),
			COALESCE(x.moved_to, ''), COALESCE(x.refund_to, ''), COALESCE(x.refund_next, 0)` +
		backgroundTables + ` LEFT JOIN sessions AS x ON x.id = ? LEFT JOIN standings AS s ON s.key = x.owner`
)

// background reads all that a start has to know at once; whether the request is known
// only if look is set. Who asks on a session is the key that it is bound to.
func (t *txn) background(r *row, look bool) (b background, err error) {
	s := &b.asker
	dest := []any{
		&b.own.Posted, &b.own.Held, &b.pool.Posted, &b.pool.Held, &b.after, &b.turns, &s.asked, &s.score, &s.scored,
		&s.completed, &s.refused, &s.paid, &s.first, &s.last, &s.granted, &s.day,
	}
	query, last := backgroundQuery, r.Asker
	id, isSession := r.Payer.Session()
	if isSession {
		query, last, dest = sessionBackgroundQuery, id, append(dest, b.session.columns()...)
	}
	args := []any{r.Payer, timmy.HousePool, r.Thread, last}
	if look {
		query, dest, args = isKnown+strings.TrimPrefix(query, `SELECT `), slices.Insert(dest, 0, any(&b.known)), slices.Insert(args, 0, any(r.ID))
	}
	err = t.Row(dest, query, args...)
	if owner := b.session.Owner; owner != "" {
		r.Asker, r.Who = owner, owner
	}
	return b, err
}

// sees puts what a request tells of its asker into the background. It reports whether
// that has to be written, too: a key is noted when it asks for the first time, then at
// most each hour, and when it says where it wants to be answered.
func (t *txn) sees(r *row, b *background) (write bool) {
	if r.Asker == "" {
		return false
	}
	s := &b.asker
	r.First = s.asked == 0
	write = r.First || r.replyTo() != nil || t.now.Sub(when(s.last)) >= meetAgain
	if s.first == 0 {
		s.first = ms(t.now)
	}
	s.last = ms(t.now)
	return write
}

// job is a request as those see it who price and answer it.
func (t *txn) job(r *row, b *background, a admission) (j timmy.Job, err error) {
	if j.History, err = readTurns(b.turns); err != nil {
		return j, err
	}
	j.Request, j.Tries, j.First, j.After = r.request(), int(r.Tries), r.First, b.after
	j.Lease = timmy.Lease{Request: timmy.RequestID(r.ID), Token: r.Tries, Until: when(r.LeaseUntil)}
	j.Standing = b.asker.standing(j.From)
	if today := dayOf(t.now); j.Standing.Day != today {
		j.Standing.Day, j.Standing.Granted = today, 0
	}
	j.Posted, j.PayerMax, j.PoolMax = b.own.Posted, b.own.Available(), b.pool.Available()
	if a.draws != nil {
		j.PayerMax = a.draws.Available()
	}
	return j, nil
}
