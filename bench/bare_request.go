package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/timmy-tower/timmy"
)

// step is a statement of a request.
type step struct {
	query string
	args  []any
}

func (c *bareConn) all(steps []step) error {
	for _, s := range steps {
		if err := c.exec(s.query, s.args...); err != nil {
			return err
		}
	}
	return nil
}

// placeHash is as long as a hash in the chain.
const placeHash = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"

// bareTurns is a conversation of eight turns, as the ledger keeps them.
func bareTurns(r timmy.Request, o timmy.Outcome) string {
	return strings.Repeat(fmt.Sprintf("user %d\n%s\nassistant %d\n%s\n", len(r.Text), r.Text, len(o.Text), o.Text), 4)
}

// reserve writes what the ledger writes when it accepts and starts a question, and
// whose it is, which the ledger files later.
func (b *bare) reserve(i int, id string) func(c *bareConn) error {
	return func(c *bareConn) error {
		r, now := question(i, id), time.Now().UnixMilli()
		steps := []step{
			{`UPDATE accounts SET held = held + ? WHERE name = ? AND posted - held >= ?`, []any{int64(held), string(r.Payer), int64(held)}},
			{
				`INSERT INTO requests (id, front, asker, who, payer, thread, text, command, price_max, wait, reply_to, at, first,
					state, since, tries, lease_owner, lease_until, hold_pool, hold_session, hold_user, hold_day)
				VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, 0, ?, ?, 0, 'running', ?, 1, ?, ?, 0, 0, ?, ?) ON CONFLICT (id) DO NOTHING`,
				[]any{
					id, string(r.Front), r.From.String(), r.From.String(), string(r.Payer), r.Thread, r.Text,
					[]byte(nil), now, now, "bench", now, int64(held), 1,
				},
			},
		}
		if b.files {
			steps = append(steps, step{`INSERT INTO filed_requests (asker, seq) VALUES (?, last_insert_rowid())`, []any{r.From.String()}})
		}
		return c.all(steps)
	}
}

const posting = `INSERT INTO postings (key, source, destination, amount, at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`

// capture writes what the ledger writes when it finishes it, with the places in the chain,
// and what is filed of the postings.
func (b *bare) capture(i int, id string) func(c *bareConn) error {
	turns := bareTurns(question(i, id), answer())
	return func(c *bareConn) error {
		r, o, now := question(i, id), answer(), time.Now().UnixMilli()
		payer, pool, revenue := string(r.Payer), string(timmy.HousePool), string(timmy.HouseRevenue)
		share := int64(charged) / 10
		steps := []step{
			{posting, []any{"finish:" + id + ":user:pool", payer, pool, share, now}},
			{posting, []any{"finish:" + id + ":user:revenue", payer, revenue, int64(charged) - share, now}},
			{
				`UPDATE accounts SET posted = posted - ?, held = held - ? WHERE name = ? AND held >= ? AND posted - held >= ?`,
				[]any{int64(charged), int64(held), payer, int64(held), int64(charged - held)},
			},
			{`INSERT INTO accounts (name, posted) VALUES (?, ?)
				ON CONFLICT (name) DO UPDATE SET posted = accounts.posted + excluded.posted`, []any{pool, share}},
			{
				`UPDATE requests SET state = ?, since = ?, result = ?, reason = '', abuse = 0, rate = 0,
					eval_in = ?, eval_out = ?, eval_est = 0, work_in = ?, work_out = ?, work_est = 0,
					cost_eval = ?, cost_work = ?, total = ?, absorbed = ?, charged = ?, waived = ?, dust = ?,
					balance = ?, hold_pool = 0, hold_session = 0, hold_user = 0, lease_owner = '', lease_until = 0
				WHERE id = ? AND state = 'running' AND tries = ?`,
				[]any{string(o.State), now, o.Text, 0, 0, o.Work.In, o.Work.Out, 0, int64(charged), int64(charged), 0, int64(charged), 0, 0, int64(deposit), id, 1},
			},
			{
				`INSERT INTO conversations (thread, last, turns) VALUES (?, ?, ?)
					ON CONFLICT (thread) DO UPDATE SET last = excluded.last, turns = excluded.turns`,
				[]any{r.Thread, id, turns},
			},
			{
				`UPDATE standings SET score = ?, scored = ?, completed = completed + 1, refused = ?, paid = paid + ?, last_seen = ? WHERE key = ?`,
				[]any{1000, now, 0, int64(charged), now, r.From.String()},
			},
		}
		for range 2 {
			n := b.sealed.Add(1)
			steps = append(steps, step{`INSERT INTO chain (place, posting, hash) VALUES (?, ?, ?)`, []any{n, n, placeHash}})
			if b.files {
				steps = append(steps, step{`INSERT INTO filed_postings (source, seq) VALUES (?, ?)`, []any{payer, n}})
			}
		}
		return c.all(steps)
	}
}
