package simnet

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
)

// LNbits is the server of that name, as its users install it.
type LNbits struct {
	process
	addr  string
	token string // of its superuser
}

// LNbitsWallet is a wallet on the server, with its two keys.
type LNbitsWallet struct {
	ID         string `json:"id"`
	InvoiceKey string `json:"inkey"`
	AdminKey   string `json:"adminkey"`
}

// superuser is who may give sats to a wallet whose funding source is made up.
const (
	superuser = "operator"
	password  = "correct horse battery"
)

// StartLNbits starts the server of the Python environment venv, everything it writes
// below dir, with settings of the given environment: which wallet is behind it.
func StartLNbits(ctx context.Context, venv, dir string, env ...string) (*LNbits, error) {
	bin, err := filepath.Abs(filepath.Join(venv, "bin"))
	if err != nil {
		return nil, fmt.Errorf("finding lnbits: %w", err)
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	// It looks for its files where it stands.
	home, err := filepath.Glob(filepath.Join(filepath.Dir(bin), "lib", "python3*", "site-packages"))
	if err != nil || len(home) != 1 {
		return nil, fmt.Errorf("finding lnbits in %s (make lnbits-venv puts it there): %v, %w", bin, home, err)
	}
	l := &LNbits{process: process{name: "lnbits", bin: bin, dir: dir, cwd: home[0]}, addr: addr}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	l.args = []string{"--host", host, "--port", port}
	l.env = append([]string{
		"LNBITS_DATA_FOLDER=" + dir, "LNBITS_EXTENSIONS_PATH=" + dir, "LNBITS_ADMIN_UI=true", "LNBITS_RATE_LIMIT_NO=100000",
		"LNBITS_EXTENSIONS_DEFAULT_INSTALL=", "PYTHONUNBUFFERED=1",
	}, env...)
	if err := l.Start(ctx); err != nil {
		l.Kill()
		return nil, err
	}
	var reply struct {
		Token string `json:"access_token"`
	}
	who := map[string]string{"username": superuser, "password": password, "password_repeat": password}
	err = exchange(ctx, http.DefaultClient, http.MethodPut, l.URL()+"/api/v1/auth/first_install", who, &reply, func(*http.Request) {})
	if err != nil {
		l.Kill()
		return nil, fmt.Errorf("lnbits first_install: %w", err)
	}
	l.token = reply.Token
	return l, nil
}

// URL is what a tower is told.
func (l *LNbits) URL() string { return "http://" + l.addr }

// Start starts it again.
func (l *LNbits) Start(ctx context.Context) error {
	if err := l.start(); err != nil {
		return err
	}
	return until(ctx, &l.process, "lnbits", func() error {
		return exchange(ctx, http.DefaultClient, http.MethodGet, l.URL()+"/api/v1/health", nil, nil, func(*http.Request) {})
	})
}

// Kill ends it as a power cut would.
func (l *LNbits) Kill() { l.kill() }

// LogTail is the end of what it printed.
func (l *LNbits) LogTail(lines int) string { return l.logTail(lines) }

// Wallet makes one.
func (l *LNbits) Wallet(ctx context.Context, name string) (w LNbitsWallet, err error) {
	err = l.call(ctx, http.MethodPost, "/api/v1/wallet", map[string]string{"name": name}, &w, l.operator)
	return w, err
}

// Give puts sats into a wallet out of nothing, as the superuser may.
func (l *LNbits) Give(ctx context.Context, w LNbitsWallet, sats int64) error {
	return l.call(ctx, http.MethodPut, "/users/api/v1/balance", map[string]any{"id": w.ID, "amount": sats}, nil, l.operator)
}

// Balance is what a wallet holds, in msat.
func (l *LNbits) Balance(ctx context.Context, w LNbitsWallet) (int64, error) {
	var out struct{ Balance int64 }
	err := l.call(ctx, http.MethodGet, "/api/v1/wallet", nil, &out, key(w.InvoiceKey))
	return out.Balance, err
}

// Invoice is one of a wallet.
func (l *LNbits) Invoice(ctx context.Context, w LNbitsWallet, sats int64) (string, error) {
	var out struct{ Bolt11 string }
	err := l.call(ctx, http.MethodPost, "/api/v1/payments", map[string]any{"out": false, "amount": sats, "memo": "back to me"}, &out, key(w.InvoiceKey))
	return out.Bolt11, err
}

// Pay pays an invoice out of a wallet.
func (l *LNbits) Pay(ctx context.Context, w LNbitsWallet, bolt11 string) error {
	return l.call(ctx, http.MethodPost, "/api/v1/payments", map[string]any{"out": true, "bolt11": bolt11}, nil, key(w.AdminKey))
}

func (l *LNbits) operator(r *http.Request) { r.Header.Set("Authorization", "Bearer "+l.token) }

func key(k string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("X-Api-Key", k) }
}

func (l *LNbits) call(ctx context.Context, method, path string, in, out any, set func(*http.Request)) error {
	if err := exchange(ctx, http.DefaultClient, method, l.URL()+path, in, out, set); err != nil {
		return fmt.Errorf("lnbits %s: %w", path, err)
	}
	return nil
}
