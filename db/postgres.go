package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"
)

// turn is the advisory lock that a batch of writes takes first and keeps until it
// is committed: towers on one database write in turns, one schema apart from the
// other. The first number says "timm".
const turn = "1953066349, hashtext(current_schema())"

// postgres is how a server is reached.
type postgres struct {
	config *pgx.ConnConfig
}

// OpenPostgres opens a PostgreSQL database (postgres://user:password@host/name) for
// reading and writing by several towers. Settings are asserted on every connection;
// a server before 15, or one that only reads, is an error. Every connection is kept
// with what it prepared, so a pooler in between must not share connections among
// transactions.
func OpenPostgres(ctx context.Context, url string, o Options) (*DB, error) {
	d, err := newPostgres(url, o)
	if err != nil {
		return nil, err
	}
	if o.Part != "" {
		if err := d.enterPart(ctx, o.Part); err != nil {
			return nil, fmt.Errorf("database %s: %w", d.path, err)
		}
	}
	d.write = d.pg.handle(1)
	if err := d.probePostgres(ctx); err != nil {
		return nil, errors.Join(err, d.write.Close())
	}
	if err := d.openReaders(ctx, d.pg.handle(cap(d.readers))); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// enterPart makes the schema of a part, if nobody has, and leads all connections there.
func (d *DB) enterPart(ctx context.Context, part string) (err error) {
	c, err := pgx.ConnectConfig(ctx, d.pg.config)
	if err != nil {
		return away(err)
	}
	defer func() { err = errors.Join(err, c.Close(context.WithoutCancel(ctx))) }()
	var name string
	var there bool
	err = c.QueryRow(ctx, `SELECT current_schema() || '_' || $1, to_regnamespace(quote_ident(current_schema() || '_' || $1)) IS NOT NULL`, part).Scan(&name, &there)
	if err != nil {
		return fmt.Errorf("looking for the schema of %s: %w", part, err)
	}
	schema := pgx.Identifier{name}.Sanitize()
	if !there {
		// Two towers that start at once may both come here.
		_, err = c.Exec(ctx, `BEGIN; SELECT pg_advisory_xact_lock(`+turn+`); CREATE SCHEMA IF NOT EXISTS `+schema+`; COMMIT`)
		if err != nil {
			return fmt.Errorf("making the schema %s, for which the user needs CREATE on the database: %w", name, err)
		}
	}
	d.pg.config.RuntimeParams["search_path"] = schema
	return nil
}

// OpenPostgresReadOnly opens a PostgreSQL database beside the towers that write
// it. Write, Run and Migrate answer [ErrReadOnly].
func OpenPostgresReadOnly(ctx context.Context, url string) (*DB, error) {
	d, err := newPostgres(url, Options{Readers: 1})
	if err != nil {
		return nil, err
	}
	if err := d.openReaders(ctx, d.pg.handle(1)); err != nil {
		return nil, errors.Join(fmt.Errorf("database %s: %w", d.path, err), d.Close())
	}
	return d, nil
}

// newPostgres never shows the url, nor what the parser says of it: it carries a
// password.
func newPostgres(url string, o Options) (*DB, error) {
	if !strings.HasPrefix(url, "postgres://") && !strings.HasPrefix(url, "postgresql://") {
		return nil, errors.New("database: want postgres://user:password@host/name")
	}
	c, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("database: the postgres:// address cannot be read")
	}
	c.ConnectTimeout = connectTimeout
	for k, v := range map[string]string{
		"application_name": "timmy", "synchronous_commit": "on", "default_transaction_isolation": "read committed",
		"TimeZone": "UTC", "lock_timeout": strconv.FormatInt(lockTimeout.Milliseconds(), 10),
		"idle_in_transaction_session_timeout": strconv.FormatInt(idleTimeout.Milliseconds(), 10),
	} {
		c.RuntimeParams[k] = v
	}
	d := newDB("postgres://"+net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port)))+"/"+c.Database, o)
	d.dialect, d.pg = Postgres, &postgres{config: c}
	return d, nil
}

func (p *postgres) handle(conns int) *sqlx.DB {
	h := stdlib.OpenDB(*p.config, stdlib.OptionAfterConnect(assertPostgres))
	h.SetMaxOpenConns(conns)
	h.SetMaxIdleConns(conns)
	h.SetConnMaxLifetime(0)
	return sqlx.NewDb(h, "pgx")
}

// assertPostgres refuses a connection whose settings would lose what was
// acknowledged.
func assertPostgres(ctx context.Context, c *pgx.Conn) error {
	var version int
	var durable, isolation string
	err := c.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, current_setting('synchronous_commit'),
		current_setting('default_transaction_isolation')`).Scan(&version, &durable, &isolation)
	switch {
	case err != nil:
		return fmt.Errorf("reading the server's settings: %w", err)
	case version/10_000 < minPostgres:
		return fmt.Errorf("PostgreSQL %d is too old, want %d or newer", version/10_000, minPostgres)
	case durable != "on":
		return fmt.Errorf("synchronous_commit is %q, want \"on\"", durable)
	case isolation != "read committed":
		return fmt.Errorf("default_transaction_isolation is %q, want \"read committed\"", isolation)
	}
	return nil
}

// probePostgres finds out at once whether the database can be written.
func (d *DB) probePostgres(ctx context.Context) error {
	var readOnly, fsync string
	err := d.write.QueryRowxContext(ctx, `SELECT current_setting('transaction_read_only'), current_setting('fsync')`).Scan(&readOnly, &fsync)
	if err != nil {
		return fmt.Errorf("database %s: %w", d.path, away(err))
	}
	if readOnly != "off" {
		return fmt.Errorf("database %s cannot be written: it is a standby, or read-only for this user", d.path)
	}
	if fsync != "on" {
		d.log.Warn("this PostgreSQL server runs with fsync off: a power cut loses what was acknowledged")
	}
	return nil
}

// beginPostgres begins a batch and waits for its turn. The isolation has to be READ
// COMMITTED: a snapshot taken before the turn has come would not see what the tower
// before wrote.
func (d *DB) beginPostgres(ctx context.Context, s *session) error {
	if s.lost {
		if err := s.reopen(ctx, d.write); err != nil {
			return err
		}
	}
	if _, err := s.conn.ExecContext(ctx, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"); err != nil {
		return away(err)
	}
	tx := &Tx{ctx: ctx, s: s}
	if _, err := tx.Exec("SELECT pg_advisory_xact_lock(" + turn + ")"); err != nil {
		return fmt.Errorf("waiting for the other towers: %w", err)
	}
	return tx.Get(&s.began, "SELECT clock_timestamp()")
}

// lock takes the turn for longer than a transaction: nobody writes meanwhile.
func (p *postgres) lock(ctx context.Context, h *sqlx.DB) (unlock func(), err error) {
	conn, err := h.Connx(ctx)
	if err != nil {
		return nil, away(err)
	}
	if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock("+turn+")"); err != nil {
		return nil, errors.Join(fmt.Errorf("waiting for the other towers: %w", err), conn.Close())
	}
	return func() {
		// A connection that cannot do this is gone, and the lock with it.
		_, _ = conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock("+turn+")")
		_ = conn.Close()
	}, nil
}

// aborted reports whether the server has given up the transaction: its COMMIT would
// be answered, without an error, by a rollback.
func aborted(s *session) (yes bool) {
	err := s.conn.Raw(func(c any) error {
		conn, ok := c.(*stdlib.Conn)
		yes = !ok || conn.Conn().PgConn().TxStatus() == 'E'
		return nil
	})
	return yes || err != nil
}

// oneByOne commits items of a batch that was given up, each in a transaction of its
// own, so that one which cannot get through does not take others with it.
func (d *DB) oneByOne(s *session, items []*item) {
	for i, it := range items {
		one := items[i : i+1]
		var err error
		for try := range maxTries {
			time.Sleep(rand.N(retryAfter << try)) // of different towers at different times
			if err = d.commit(s, one, false); err == nil {
				break
			}
			if err = d.undo(s, err); !again(err) {
				break
			}
		}
		if err != nil && !given(err) && again(err) { // the server is gone, for the rest as well
			d.answer(items[i:], err)
			return
		}
		if err != nil {
			it.err = nil // the transaction's error tells more
		}
		d.answer(one, err)
	}
}

// unsent is an error of a transaction whose COMMIT was never sent: nothing of it
// can have been written.
type unsent struct{ err error }

func (u *unsent) Error() string { return u.err.Error() }
func (u *unsent) Unwrap() error { return u.err }

// errAway marks errors of a server that cannot be reached, or is too busy.
var errAway = errors.New("the database cannot be reached")

func away(err error) error {
	if errors.Is(err, errAway) {
		return err
	}
	return fmt.Errorf("%w: %w", errAway, err)
}

// again reports whether a transaction may be tried again: PostgreSQL undid it for
// another's sake, or it was lost before its COMMIT.
func again(err error) bool {
	if given(err) {
		return true
	}
	_, ok := errors.AsType[*unsent](err)
	return ok && errors.Is(err, errAway)
}

// given reports whether PostgreSQL gave up a transaction that is right in itself: a
// serialization failure, a deadlock, or a plan that another tower's migration made
// stale.
func given(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (e.Code == "40001" || e.Code == "40P01" || (e.Code == "0A000" && strings.Contains(e.Message, "cached plan")))
}

// awayPostgres is [Away] for PostgreSQL's errors, by their classes: connection,
// serialization, resources, lock not available, operator intervention, system.
func awayPostgres(err error) bool {
	if errors.Is(err, errAway) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) {
		return true
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return false
	}
	switch e.Code[:min(2, len(e.Code))] {
	case "08", "40", "53", "55", "57", "58":
		return true
	}
	return e.Code == "25006" || e.Code == "25P03"
}
