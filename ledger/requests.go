package ledger

import (
	"context"
	"database/sql"
	"errors"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/failpoint"
)

// row is a request as it is stored.
type row struct {
	Seq                                    int64
	ID                                     string
	Front                                  timmy.Front
	Asker, Who                             string
	Payer                                  timmy.Account
	Thread, Text                           string
	Command                                bool
	PriceMax                               timmy.Msat `db:"price_max"`
	Wait                                   bool
	ReplyTo                                []byte `db:"reply_to"`
	At                                     int64
	First                                  bool
	State                                  timmy.State
	Since, Tries, Crashes                  int64
	LeaseOwner                             string     `db:"lease_owner"`
	LeaseUntil                             int64      `db:"lease_until"`
	HoldPool                               timmy.Msat `db:"hold_pool"`
	HoldSession                            timmy.Msat `db:"hold_session"`
	HoldUser                               timmy.Msat `db:"hold_user"`
	HoldDay                                int64      `db:"hold_day"`
	Need                                   timmy.Msat
	Invoice                                string
	Result, Reason                         string
	Abuse                                  bool
	EvalIn                                 int64      `db:"eval_in"`
	EvalOut                                int64      `db:"eval_out"`
	EvalEst                                bool       `db:"eval_est"`
	WorkIn                                 int64      `db:"work_in"`
	WorkOut                                int64      `db:"work_out"`
	WorkEst                                bool       `db:"work_est"`
	CostEval                               timmy.Msat `db:"cost_eval"`
	CostWork                               timmy.Msat `db:"cost_work"`
	Total, Absorbed, Charged, Waived, Dust timmy.Msat
	Rate                                   timmy.Rate
	Balance                                timmy.Msat
}

// readBefore reads a request that has no outcome yet. The query's columns are
// [beforeOutcome].
func (t *txn) readBefore(r *row, query string, args ...any) error {
	return t.Row([]any{
		&r.Seq, &r.ID, &r.Front, &r.Asker, &r.Who, &r.Payer, &r.Thread, &r.Text, &r.Command, &r.PriceMax, &r.Wait, &r.ReplyTo, &r.At, &r.First,
		&r.State, &r.Since, &r.Tries, &r.Crashes, &r.Reason, &r.HoldPool, &r.HoldSession, &r.HoldUser, &r.HoldDay,
	}, query, args...)
}

// beforeOutcome are the columns of a request that has no outcome yet; the others cost
// more to read than all of these.
const beforeOutcome = `seq, id, front, asker, who, payer, thread, text, command, price_max, wait, reply_to, at, first,
	state, since, tries, crashes, reason, hold_pool, hold_session, hold_user, hold_day`

func (r *row) from() timmy.PubKey { return keyOf(r.Asker) }

// byParcel reports whether the asker is answered by a parcel: those who wait on a
// line of HTTP are not.
func (r *row) byParcel() bool { return r.Front == timmy.FrontDM || r.Front == timmy.FrontJob }

func (r *row) request() timmy.Request {
	return timmy.Request{
		ID: timmy.RequestID(r.ID), Front: r.Front, From: r.from(), Payer: r.Payer, Thread: r.Thread, Text: r.Text,
		Command: r.Command, PriceMax: r.PriceMax, Wait: r.Wait, ReplyTo: r.ReplyTo, At: when(r.At),
	}
}

func (r *row) outcome() timmy.Outcome {
	return timmy.Outcome{
		State: r.State, Text: r.Result, Reason: r.Reason, Abuse: r.Abuse, Rate: r.Rate,
		Eval: timmy.Usage{In: r.EvalIn, Out: r.EvalOut, Estimated: r.EvalEst},
		Work: timmy.Usage{In: r.WorkIn, Out: r.WorkOut, Estimated: r.WorkEst},
		Cost: timmy.Cost{
			Eval: r.CostEval, Work: r.CostWork, Total: r.Total, Absorbed: r.Absorbed,
			Charged: r.Charged, Waived: r.Waived, Dust: r.Dust,
		},
	}
}

// reply is what the asker is told; of a parked request, with its invoice.
func (r *row) reply(q *db.Tx) (timmy.Reply, error) {
	reply := timmy.Reply{
		Request: timmy.RequestID(r.ID), Front: r.Front, Command: r.Command, Thread: r.Thread, Payer: r.Payer,
		Outcome: r.outcome(), Balance: r.Balance, First: r.First, Tries: int(r.Tries), At: when(r.Since),
	}
	if r.State != timmy.StateParked {
		return reply, nil
	}
	i, ok, err := invoiceBy(q, "ref", r.Invoice)
	if err == nil && ok {
		inv := i.invoice()
		reply.Invoice = &inv
	}
	return reply, err
}

func requestByID(q *db.Tx, id timmy.RequestID) (r row, ok bool, err error) {
	err = q.Get(&r, `SELECT * FROM requests WHERE id = ?`, id)
	if errors.Is(err, sql.ErrNoRows) {
		return r, false, nil
	}
	return r, err == nil, err
}

// Accept makes a request durable and queues it, once: fresh is false when its id
// is known.
func (l *Ledger) Accept(ctx context.Context, r timmy.Request) (fresh bool, err error) {
	if err := checkRequest(r); err != nil {
		return false, err
	}
	err = l.write(ctx, failpoint.LedgerAccept, func(t *txn) error {
		queued := t.queuedRow(r)
		fresh, err = t.accept(&queued)
		t.queued = fresh
		return err
	})
	if err == nil && fresh {
		l.stats.accepted.Add(1)
	}
	return fresh && err == nil, err
}

func checkRequest(r timmy.Request) error {
	switch {
	case r.ID == "" || len(r.ID) > 128:
		return timmy.Errorf(timmy.Invalid, "a request needs an id of 1 to 128 bytes")
	case r.Payer == "" || r.Payer.House():
		return timmy.Errorf(timmy.Invalid, "a request needs an asker's account")
	case r.PriceMax < 0 || r.PriceMax > timmy.MaxMsat:
		return timmy.Errorf(timmy.Invalid, "the price limit is not an amount")
	}
	return nil
}

// queuedRow is a request as accept stores it, so that a fresh one need not be read
// back; but for what the database numbers, Seq.
func (t *txn) queuedRow(r timmy.Request) row {
	if r.At.IsZero() {
		r.At = t.now
	}
	who := hexOf(r.From)
	if who == "" {
		who = string(r.Payer)
	}
	return row{
		ID: string(r.ID), Front: r.Front, Asker: hexOf(r.From), Who: who, Payer: r.Payer, Thread: r.Thread, Text: r.Text,
		Command: r.Command, PriceMax: r.PriceMax, Wait: r.Wait, ReplyTo: r.ReplyTo, At: ms(r.At),
		State: timmy.StateQueued, Since: ms(t.now),
	}
}

// askedColumns are what a request is written with, whatever comes of it.
const (
	askedColumns = `id, front, asker, who, payer, thread, text, command, price_max, wait, reply_to, at, state, since`
	askedValues  = `?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?`
)

// asked are the values of askedColumns, with room for those that follow.
func (r *row) asked() []any {
	return append(make([]any, 0, 24), r.ID, r.Front, r.Asker, r.Who, r.Payer, r.Thread, r.Text, bit(r.Command), r.PriceMax,
		bit(r.Wait), r.ReplyTo, r.At, r.State, r.Since)
}

// accept inserts the request, with whether it is the first of its key, and notes the
// asker.
func (t *txn) accept(r *row) (fresh bool, err error) {
	n, err := t.Exec(`INSERT INTO requests (`+askedColumns+`, first) VALUES (`+askedValues+`,
			CASE WHEN ? = '' OR EXISTS (SELECT 1 FROM standings WHERE key = ? AND asked > 0) THEN 0 ELSE 1 END) ON CONFLICT (id) DO NOTHING`,
		append(r.asked(), r.Asker, r.Asker)...)
	if err != nil || n == 0 {
		return false, err
	}
	if r.Asker == "" {
		return true, nil
	}
	return true, t.noteAsker(r)
}

// noteAsker keeps when a key was seen, that it asked, and where its last direct message
// wanted the answer: notices go there too.
func (t *txn) noteAsker(r *row) error {
	return t.Later(nil, `INSERT INTO standings (key, first_seen, last_seen, asked, reply_to) VALUES (?, ?, ?, 1, ?)
		ON CONFLICT (key) DO UPDATE SET last_seen = excluded.last_seen, asked = 1,
			reply_to = COALESCE(excluded.reply_to, standings.reply_to)`, r.Asker, ms(t.now), ms(t.now), r.replyTo())
}

// replyTo is where the asker wants direct messages, if the request says so.
func (r *row) replyTo() []byte {
	if r.Front != timmy.FrontDM {
		return nil
	}
	return r.ReplyTo
}

// Reply reads what became of a request; done is false while it is not final.
func (l *Ledger) Reply(ctx context.Context, id timmy.RequestID) (reply timmy.Reply, done bool, err error) {
	err = l.read(ctx, func(q *db.Tx) error {
		r, ok, err := requestByID(q, id)
		if err != nil {
			return err
		}
		if !ok {
			return timmy.Errorf(timmy.NotFound, "no such request")
		}
		done = r.State.Final()
		reply, err = r.reply(q)
		return err
	})
	return reply, done, err
}

// Requests lists a key's latest requests, commands left out, newest first.
func (l *Ledger) Requests(ctx context.Context, k timmy.PubKey, limit int) (rs []timmy.Reply, err error) {
	if k.IsZero() {
		return nil, nil
	}
	limit = clamp(limit, maxList)
	latest, args := latestAsked(l.db.Dialect(), `r.*`, k, limit)
	err = l.read(ctx, func(q *db.Tx) error {
		var rows []row
		if err := q.Select(&rows, `SELECT * FROM `+latest+` ORDER BY seq DESC LIMIT ?`, append(args, limit)...); err != nil {
			return err
		}
		for i := range rows {
			r, err := rows[i].reply(q)
			if err != nil {
				return err
			}
			rs = append(rs, r)
		}
		return nil
	})
	return rs, err
}

// waitingOf are a key's questions that are queued or parked, by the indexes of all that are:
// of its own it may have asked a hundred thousand. Every payer has a name, and +seq is seq:
// with them SQLite takes those indexes, and no walk over the table. Its arguments are the
// key, twice, a request that is left out, and a limit.
const waitingOf = `SELECT * FROM (
		SELECT * FROM requests WHERE state = 'queued' AND asker = ? AND asker <> '' AND command = 0
		UNION ALL
		SELECT * FROM requests WHERE state = 'parked' AND payer > '' AND asker = ? AND asker <> '' AND command = 0
	) AS waiting WHERE id <> ? ORDER BY +seq LIMIT ?`

// Cancel finishes as failed ("stopped") the questions that a key has queued or parked,
// except the request keep, and says how many that were. A command is no question: it
// is answered.
func (l *Ledger) Cancel(ctx context.Context, k timmy.PubKey, keep timmy.RequestID) (n int, err error) {
	if k.IsZero() {
		return 0, nil
	}
	err = l.write(ctx, failpoint.LedgerCancel, func(t *txn) error {
		n = 0
		var rows []row
		if err := t.Select(&rows, waitingOf, k.String(), k.String(), keep, maxSweep); err != nil {
			return err
		}
		for i := range rows {
			if err := t.close(&rows[i], timmy.StateFailed, "stopped"); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}

// close ends a request that holds nothing, without cost, and tells the asker.
func (t *txn) close(r *row, state timmy.State, reason string) error {
	bal, err := t.drawable(r.Payer)
	if err != nil {
		return err
	}
	r.State, r.Reason, r.Since, r.Balance = state, reason, ms(t.now), bal.Posted
	n, err := t.Exec(`UPDATE requests SET state = ?, reason = ?, since = ?, balance = ?, lease_owner = '', lease_until = 0
		WHERE id = ? AND hold_pool + hold_session + hold_user = 0`, r.State, r.Reason, r.Since, r.Balance, r.ID)
	if err != nil {
		return err
	}
	if n != 1 {
		return bug("closing %s, which holds money", r.ID)
	}
	return t.answer(r)
}

// answer writes the parcel for fronts that are answered by parcel.
func (t *txn) answer(r *row) error {
	if !r.byParcel() {
		return nil
	}
	reply, err := r.reply(t.Tx)
	if err != nil {
		return err
	}
	return t.parcel(timmy.Parcel{Front: r.Front, To: r.from(), ReplyTo: r.ReplyTo, Reply: &reply}, reply.Request)
}
