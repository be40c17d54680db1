package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jmoiron/sqlx"
	sqlite3 "github.com/mattn/go-sqlite3"
)

// OpenSQLite opens, and creates if needed (mode 0600), the database file at path
// for reading and writing. Settings are asserted on every connection; a setting
// that does not hold is an error, for synchronous=NORMAL loses acknowledged
// commits at a power cut. The folder must exist.
func OpenSQLite(ctx context.Context, path string, o Options) (*DB, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("database %s cannot be written: %w", path, err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("database %s: %w", path, err)
	}
	d := newDB(path, o)
	d.write = openHandle(&connector{path: path}, 1)
	if err := d.probe(ctx); err != nil {
		return nil, errors.Join(err, d.write.Close())
	}
	if err := d.openReaders(ctx, openHandle(&connector{path: path, queryOnly: true}, cap(d.readers))); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// OpenSQLiteReadOnly opens an existing database file beside the tower that
// writes it. Write, Run and Migrate answer [ErrReadOnly].
func OpenSQLiteReadOnly(ctx context.Context, path string) (*DB, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("database %s: %w", path, err)
	}
	d := newDB(path, Options{Readers: 1})
	if err := d.openReaders(ctx, openHandle(&connector{path: path, queryOnly: true, readOnly: true}, cap(d.readers))); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func checkPath(path string) error {
	if path == "" {
		return errors.New("database: no path given")
	}
	if s, err := os.Stat(path); err == nil && s.IsDir() {
		return fmt.Errorf("database %s is a folder, want a file", path)
	}
	if s, err := os.Stat(filepath.Dir(path)); err != nil || !s.IsDir() {
		return fmt.Errorf("database %s: its folder does not exist", path)
	}
	return nil
}

// connector makes connections with asserted settings. It exists so that no
// driver has to be registered globally, and so that no PRAGMA is ever sent to
// one connection of a pool and missed by the next.
type connector struct {
	path                string
	queryOnly, readOnly bool
}

func (c *connector) Driver() driver.Driver { return &sqlite3.SQLiteDriver{} }

func (c *connector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.Driver().Open(c.dsn())
	if err != nil {
		return nil, fmt.Errorf("opening database %s: %w", c.path, err)
	}
	if err := c.set(conn); err != nil {
		return nil, errors.Join(fmt.Errorf("database %s: %w", c.path, err), conn.Close())
	}
	if err := c.assert(conn); err != nil {
		return nil, errors.Join(fmt.Errorf("database %s: %w", c.path, err), conn.Close())
	}
	return conn, nil
}

func (c *connector) dsn() string {
	q := url.Values{}
	q.Set("_synchronous", "FULL")
	q.Set("_busy_timeout", strconv.FormatInt(busyTimeout.Milliseconds(), 10))
	q.Set("_foreign_keys", "on")
	q.Set("_txlock", "immediate")
	q.Set("_mutex", "no") // a connection is one goroutine's at a time; its locks are a twentieth of a request
	if c.readOnly {
		q.Set("mode", "ro")
	} else {
		q.Set("_journal_mode", "WAL")
	}
	if c.queryOnly {
		q.Set("_query_only", "on")
		q.Set("_txlock", "deferred")
	}
	return "file:" + (&url.URL{Path: c.path}).EscapedPath() + "?" + q.Encode()
}

// set makes settings that the driver has no name for.
func (c *connector) set(conn driver.Conn) error {
	e, ok := conn.(driver.ExecerContext)
	if !ok {
		return errors.New("driver cannot execute")
	}
	set := fmt.Sprintf("PRAGMA wal_autocheckpoint=%d", checkpointPages)
	if !c.queryOnly && !c.readOnly {
		set += fmt.Sprintf("; PRAGMA cache_size=%d", -cacheKiB)
	}
	_, err := e.ExecContext(context.Background(), set, nil)
	return err
}

func (c *connector) assert(conn driver.Conn) error {
	want := map[string]string{
		"PRAGMA journal_mode": "wal",
		"PRAGMA synchronous":  "2", // FULL
		"PRAGMA busy_timeout": strconv.FormatInt(busyTimeout.Milliseconds(), 10),
		"PRAGMA foreign_keys": "1",
		"PRAGMA query_only":   "0",
	}
	if c.queryOnly {
		want["PRAGMA query_only"] = "1"
	}
	for q, w := range want {
		got, err := ask(conn, q)
		if err != nil {
			return err
		}
		if got != w {
			return fmt.Errorf("%s is %q, want %q", strings.ToLower(q), got, w)
		}
	}
	v, err := ask(conn, "SELECT sqlite_version()")
	if err != nil {
		return err
	}
	if older(v, minSQLite) {
		return fmt.Errorf("SQLite %s has known corruption bugs, want %s or newer", v, minSQLite)
	}
	return nil
}

// ask runs a query of one value on a bare driver connection.
func ask(conn driver.Conn, query string) (string, error) {
	q, ok := conn.(driver.QueryerContext)
	if !ok {
		return "", errors.New("driver cannot query")
	}
	rows, err := q.QueryContext(context.Background(), query, nil)
	if err != nil {
		return "", fmt.Errorf("%s: %w", query, err)
	}
	row := make([]driver.Value, len(rows.Columns()))
	if err := rows.Next(row); err != nil {
		return "", errors.Join(fmt.Errorf("%s: %w", query, err), rows.Close())
	}
	return fmt.Sprint(row[0]), rows.Close()
}

// older compares dotted version numbers.
func older(v, than string) bool {
	a, b := strings.Split(v, "."), strings.Split(than, ".")
	for i := range min(len(a), len(b)) {
		x, errX := strconv.Atoi(a[i])
		y, errY := strconv.Atoi(b[i])
		if errX != nil || errY != nil {
			return true
		}
		if x != y {
			return x < y
		}
	}
	return len(a) < len(b)
}

func openHandle(c *connector, conns int) *sqlx.DB {
	h := sql.OpenDB(c)
	h.SetMaxOpenConns(conns)
	h.SetMaxIdleConns(conns)
	h.SetConnMaxLifetime(0)
	return sqlx.NewDb(h, "sqlite3")
}

// probe finds out at once whether the file is a database that can be written.
func (d *DB) probe(ctx context.Context) error {
	conn, err := d.write.Connx(ctx)
	if err != nil {
		return err
	}
	for _, q := range []string{"BEGIN IMMEDIATE", "PRAGMA user_version", "ROLLBACK"} {
		if _, err := conn.ExecContext(ctx, q); err != nil {
			return errors.Join(fmt.Errorf("database %s cannot be written: %w", d.path, err), conn.Close())
		}
	}
	return conn.Close()
}
