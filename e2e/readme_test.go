package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// commandsOf lists what a reader of a Markdown file is told to type, in order; the
// comments behind it left out.
func commandsOf(t *testing.T, file string) (commands []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		for _, line := range strings.Split(block[1], "\n") {
			if c, ok := strings.CutPrefix(line, "$ "); ok {
				commands = append(commands, strings.TrimSpace(regexp.MustCompile(`\s+#.*$`).ReplaceAllString(c, "")))
			}
		}
	}
	return commands
}

// reader types what the README says, in a folder with bin/timmy in it.
type reader struct {
	t   *testing.T
	tw  *tower
	dir string
	env []string
}

// types runs a line of the README in a shell. What it leaves to the reader (an
// invoice, a token) is put in, and the port is the test's.
func (r *reader) types(line string, put ...string) string {
	r.t.Helper()
	line = strings.ReplaceAll(line, "localhost:8080", "127.0.0.1:"+strconv.Itoa(r.tw.port))
	cmd := exec.Command("sh", "-c", strings.NewReplacer(put...).Replace(line))
	cmd.Dir, cmd.Env = r.dir, r.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("$ %s\n%s%v", line, out, err)
	}
	return string(out)
}

// Excludes a README whose commands do not work as they are printed.
func TestTheReadmeCanBeTyped(t *testing.T) {
	t.Parallel()
	c := commandsOf(t, "../README.md")
	find := func(part string) string {
		i := slices.IndexFunc(c, func(s string) bool { return strings.Contains(s, part) })
		if i < 0 {
			t.Fatalf("the README does not say %q: this test has to follow it", part)
		}
		defer func() { c = slices.Delete(c, i, i+1) }()
		return c[i]
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(binary, filepath.Join(dir, "bin", "timmy")); err != nil {
		t.Fatal(err)
	}
	tw := newTower(t)
	tw.data = filepath.Join(dir, "timmy-data")
	tw.start()
	r := &reader{t, tw, dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TIMMY_LISTEN=" + strings.TrimPrefix(tw.http(), "http://"), "TIMMY_METRICS_LISTEN=off"}}
	for _, target := range []string{"make run", "make test"} {
		if out := r.types(find(target) + " -n -C '" + here(t) + "'"); out == "" {
			t.Errorf("%s does nothing", target)
		}
	}

	bolt11 := regexp.MustCompile(`lnbcrt[0-9a-z]{20,}`)
	ask := find(`ask "What is 15%`)
	r.types(ask + " > said.txt 2>&1 &")
	said := func() string { b, _ := os.ReadFile(filepath.Join(dir, "said.txt")); return string(b) }
	waitFor(t, "an invoice", func() bool { return bolt11.MatchString(said()) })
	if out := r.types(find("pay lnbcrt1u1p…"), "lnbcrt1u1p…", bolt11.FindString(said())); !strings.HasPrefix(out, "paid 100 sats (no real sats: ") {
		t.Errorf("pay: %s", out)
	}
	waitFor(t, "the answer", func() bool { return strings.Contains(said(), "= 360") })

	var session struct {
		SessionID, Macaroon string
		Invoice             struct{ PaymentRequest string }
	}
	decode := func(text string, into any) {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
	}
	decode(r.types(find(`"amount_sats":500`)), &session)
	r.types(find("pay lnbcrt5u1…"), "lnbcrt5u1…", session.Invoice.PaymentRequest)
	look := find("/sessions/$ID")
	r.env = append(r.env, "ID="+session.SessionID)
	waitFor(t, "the macaroon", func() bool { decode(r.types(look), &session); return session.Macaroon != "" })
	r.env = append(r.env, "MACAROON="+session.Macaroon)
	if out := r.types(find("/sessions/$ID/request")); !strings.Contains(out, `"6*7 = 42"`) {
		t.Errorf("asked by HTTP: %s", out)
	}
	if out := r.types(find("grep -i www-auth")); !strings.Contains(out, `L402 macaroon="`) {
		t.Errorf("the challenge: %s", out)
	}
	find("Authorization: L402") // js/l402.mjs types it: the preimage is the payer's

	initialised := find("timmy init")
	r.types(strings.ReplaceAll(initialised, "./bin/timmy", "TIMMY_DATA_DIR=other ./bin/timmy"))
	wallet, model := find("export TIMMY_WALLET"), find("export TIMMY_MODEL")
	find("timmy run")
	if out := r.types(wallet+"; "+model+"; TIMMY_DATA_DIR=other ./bin/timmy config", "TIMMY_LNBITS_KEY=…", "TIMMY_LNBITS_KEY=abc"); !strings.Contains(out, "https://tower.example") || !strings.Contains(out, "qwen3:8b") {
		t.Errorf("the settings: %s", out)
	}
	if len(c) > 0 {
		t.Errorf("not tried: %q", c)
	}
}

func here(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
