package ledger

import (
	"context"
	"slices"

	"github.com/jmoiron/sqlx"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/failpoint"
)

// history is the documented window of a thread: its last 8 turns, as many of them
// as fit into 4,000 tokens counted from the newest, oldest first.
func history(q *db.Tx, thread string) ([]timmy.Turn, error) {
	if thread == "" {
		return nil, nil
	}
	turns := make([]timmy.Turn, 0, historyTurns)
	err := q.Each(func(rows *sqlx.Rows) error { // Select would cost a twentieth of a request
		var t timmy.Turn
		if err := rows.Scan(&t.Role, &t.Text, &t.Tokens); err != nil {
			return err
		}
		turns = append(turns, t)
		return nil
	}, `SELECT role, text, tokens FROM turns WHERE thread = ? ORDER BY seq DESC LIMIT ?`, thread, historyTurns)
	if err != nil {
		return nil, err
	}
	total := int64(0)
	for i, t := range turns {
		if total += t.Tokens; total > historyTokens {
			turns = turns[:i]
			break
		}
	}
	slices.Reverse(turns)
	return turns, nil
}

// addTurns appends a question and its answer, and drops what no window shows.
func (t *txn) addTurns(thread, question, answer string) error {
	_, err := t.Exec(`INSERT INTO turns (thread, role, text, tokens) VALUES (?, ?, ?, ?), (?, ?, ?, ?)`,
		thread, timmy.RoleUser, question, timmy.Tokens(question), thread, timmy.RoleAssistant, answer, timmy.Tokens(answer))
	if err != nil {
		return err
	}
	_, err = t.Exec(`DELETE FROM turns WHERE thread = ? AND seq <=
		(SELECT seq FROM turns WHERE thread = ? ORDER BY seq DESC LIMIT 1 OFFSET ?)`, thread, thread, keptTurns)
	return err
}

// Forget deletes the turns of a thread and, if prompts is set, the texts and
// answers of its finished requests; books stay. It says how many rows it emptied.
// An answer that is still on its way is delivered.
func (l *Ledger) Forget(ctx context.Context, thread string, prompts bool) (n int, err error) {
	if thread == "" {
		return 0, nil
	}
	err = l.write(ctx, failpoint.LedgerForget, func(t *txn) error {
		turns, err := t.Exec(`DELETE FROM turns WHERE thread = ?`, thread)
		if err != nil || !prompts {
			n = int(turns)
			return err
		}
		texts, err := t.Exec(`UPDATE requests SET text = '', result = '' WHERE thread = ?
			AND state IN ('complete', 'rejected', 'failed', 'unpaid') AND (text <> '' OR result <> '')`, thread)
		n = int(turns + texts)
		return err
	})
	return n, err
}
