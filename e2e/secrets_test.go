package e2e

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/timmy-tower/timmy/nip"
)

// TestSecretsStayWhereTheyAre plants secrets, uses the tower at its most talkative
// and looks for them in the log, in the databases and in what the process table
// shows: a log that is posted in a bug report must not give the tower away.
func TestSecretsStayWhereTheyAre(t *testing.T) {
	t.Parallel()
	u := startUpstream(t)
	env := append(u.env(), "TIMMY_LOG_LEVEL=debug")
	tw := startTower(t, env...)
	a := newAPI(t, tw)
	id, bearer := a.session("500")
	a.call(200, "POST", "/sessions/"+id+"/request", `{"request":"my-private-question"}`, "Authorization", bearer)
	a.call(401, "POST", "/sessions", `{"amount_sats":500}`, "X-Nostr-Token", "planted-token-value")

	text, err := os.ReadFile(filepath.Join(tw.data, "tower.key"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := nip.ParseSecret(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	server, err := os.ReadFile(filepath.Join(tw.data, "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := hex.DecodeString(key.Secret())
	secrets := map[string][]byte{
		"the tower's key in hex":  []byte(key.Secret()),
		"the tower's key as nsec": []byte(key.Nsec()),
		"the tower's key, raw":    raw,
		"the server key":          bytes.TrimSpace(server),
		"the model's API key":     []byte("sk-test-not-a-secret"),
		"a bearer":                []byte(strings.TrimPrefix(bearer, "Bearer ")),
	}
	argv, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", tw.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	places := map[string][]byte{"the log": []byte(tw.log.tail(1 << 20)), "argv": argv}
	tw.kill()
	for _, name := range []string{"ledger.db", "events.db", "ledger.db-wal", "events.db-wal", "fake-wallet.jsonl"} {
		if b, err := os.ReadFile(filepath.Join(tw.data, name)); err == nil {
			places[name] = b
		}
	}
	for what, secret := range secrets {
		for where, bytesThere := range places {
			if bytes.Contains(bytesThere, secret) {
				t.Errorf("%s is in %s", what, where)
			}
		}
	}
	for _, private := range []string{"my-private-question", "planted-token-value", id} {
		if bytes.Contains(places["the log"], []byte(private)) {
			t.Errorf("%q is in the log", private)
		}
	}
	onlyOwner(t, tw.data)
}

// onlyOwner holds that nobody else on the machine can read the tower's files.
func onlyOwner(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && strings.HasSuffix(path, ".key") && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", filepath.Base(path), info.Mode().Perm())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
