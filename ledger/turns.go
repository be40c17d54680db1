package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/db"
	"github.com/timmy-tower/timmy/failpoint"
)

// conversation is what is kept of a thread: the turns of its documented window, and the
// request whose answer is the last of them. A thread that has none is the zero value.
type conversation struct {
	last  timmy.RequestID
	turns []timmy.Turn
}

func conversationOf(q *db.Tx, thread string) (c conversation, err error) {
	var text string
	err = q.Row([]any{&c.last, &text}, `SELECT last, turns FROM conversations WHERE thread = ?`, thread)
	if errors.Is(err, sql.ErrNoRows) {
		return c, nil
	}
	if err == nil {
		c.turns, err = readTurns(text)
	}
	return c, err
}

// readTurns is the inverse of writeTurns, of those that the window shows.
func readTurns(text string) ([]timmy.Turn, error) {
	turns := make([]timmy.Turn, 0, historyTurns+2)
	for text != "" {
		head, rest, _ := strings.Cut(text, "\n")
		role, size, _ := strings.Cut(head, " ")
		n, err := strconv.Atoi(size)
		if err != nil || n < 0 || n >= len(rest) || rest[n] != '\n' {
			return nil, fmt.Errorf("a conversation that is stored wrongly at %.40q", head)
		}
		turns = append(turns, timmy.Turn{Role: timmy.Role(role), Text: rest[:n], Tokens: timmy.Tokens(rest[:n])})
		text = rest[n+1:]
	}
	return window(turns), nil
}

// writeTurns is how turns are stored: for each a line with its role and the bytes of its
// text, and the text with a line feed. As JSON they would take a tenth of a request.
func writeTurns(turns []timmy.Turn) string {
	size := 0
	for _, t := range turns {
		size += len(t.Role) + len(t.Text) + 16
	}
	var b strings.Builder
	b.Grow(size)
	for _, t := range turns {
		b.WriteString(string(t.Role) + " " + strconv.Itoa(len(t.Text)) + "\n")
		b.WriteString(t.Text)
		b.WriteByte('\n')
	}
	return b.String()
}

// window is the documented part of a conversation: its last 8 turns, as many of them as
// fit into 4,000 tokens counted from the newest. What has once fallen out of it never
// comes back.
func window(turns []timmy.Turn) []timmy.Turn {
	turns = turns[max(0, len(turns)-historyTurns):]
	total := int64(0)
	for i, t := range slices.Backward(turns) {
		if total += t.Tokens; total > historyTokens {
			return turns[i+1:]
		}
	}
	return turns
}

// addTurns appends a question and its answer to a conversation. c is what it was when
// the request was claimed; if it has moved on since, or was forgotten, it is read anew.
func (t *txn) addTurns(r *row, c conversation, answer string) error {
	return t.setTurns(r, c, answer, func(n int64) error {
		if n == 1 {
			return nil
		}
		c, err := conversationOf(t.Tx, r.Thread)
		if err != nil {
			return err
		}
		return t.setTurns(r, c, answer, func(n int64) error {
			if n != 1 {
				return bug("the conversation of %s moved while it was written", r.ID)
			}
			return nil
		})
	})
}

// setTurns writes what a question and its answer make of c, if that is the thread's
// conversation still.
func (t *txn) setTurns(r *row, c conversation, answer string, check func(n int64) error) error {
	turns := window(append(slices.Clip(c.turns),
		timmy.Turn{Role: timmy.RoleUser, Text: r.Text, Tokens: timmy.Tokens(r.Text)},
		timmy.Turn{Role: timmy.RoleAssistant, Text: answer, Tokens: timmy.Tokens(answer)}))
	text := writeTurns(turns)
	if c.last == "" {
		return t.Later(check, `INSERT INTO conversations (thread, last, turns) VALUES (?, ?, ?) ON CONFLICT (thread) DO NOTHING`,
			r.Thread, r.ID, text)
	}
	return t.Later(check, `UPDATE conversations SET last = ?, turns = ? WHERE thread = ? AND last = ?`, r.ID, text, r.Thread, c.last)
}

// Forget deletes the conversation of a thread and, if of is a key, the texts and answers
// of what it asked there and was answered; books stay. It says how many rows it emptied.
// An answer that is still on its way is delivered.
func (l *Ledger) Forget(ctx context.Context, thread string, of timmy.PubKey) (n int, err error) {
	if thread == "" {
		return 0, nil
	}
	err = l.write(ctx, failpoint.LedgerForget, func(t *txn) error {
		talks, err := t.Exec(`DELETE FROM conversations WHERE thread = ?`, thread)
		n = int(talks)
		return err
	})
	if err != nil || of.IsZero() {
		return n, err
	}
	var answered []int64 // read outside the writer: they may be a hundred thousand
	err = l.read(ctx, func(q *db.Tx) error {
		return q.Select(&answered, `SELECT seq FROM requests WHERE seq IN (`+askedBy+`) AND thread = ? AND `+forgettable, of.String(), of.String(), thread)
	})
	if err != nil {
		return n, err
	}
	for some := range slices.Chunk(answered, maxSweep) {
		emptied, err := l.empty(ctx, some)
		if n += emptied; err != nil {
			return n, err
		}
	}
	return n, nil
}

// forgettable are requests that were answered and have a text still.
const forgettable = `state IN ('complete', 'rejected', 'failed', 'unpaid') AND (text <> '' OR result <> '')`

// empty deletes the texts of requests.
func (l *Ledger) empty(ctx context.Context, seqs []int64) (n int, err error) {
	err = l.write(ctx, failpoint.LedgerForget, func(t *txn) error {
		n = 0
		for _, seq := range seqs {
			err := t.Later(func(emptied int64) error { n += int(emptied); return nil },
				`UPDATE requests SET text = '', result = '' WHERE seq = ? AND `+forgettable, seq)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}
