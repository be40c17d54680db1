package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/timmy-tower/timmy"
)

// load merges settings from a file's text (empty: none), variables and flags.
func load(t *testing.T, file string, vars []string, flags ...string) (*Config, error) {
	t.Helper()
	cmd := &cobra.Command{Use: "x"}
	addSettingFlags(cmd)
	if file != "" {
		path := filepath.Join(t.TempDir(), settingsFile)
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		flags = append([]string{"--config", path}, flags...)
	}
	if err := cmd.ParseFlags(flags); err != nil {
		t.Fatal(err)
	}
	return loadSettings(testEnv(append(vars, "TIMMY_DATA_DIR="+t.TempDir())), cmd)
}

// The order of the layers is documented: a wrong one means that an operator
// changes a setting and nothing happens.
func TestLaterLayersWin(t *testing.T) {
	const file = "[tower]\nname = 'file'\n"
	env := []string{"TIMMY_NAME=env"}
	for _, c := range []struct {
		file  string
		env   []string
		flags []string
		want  string
		from  Source
	}{
		{"", nil, nil, "Timmy", FromDefault},
		{file, nil, nil, "file", FromFile},
		{file, env, nil, "env", FromEnv},
		{file, env, []string{"--name", "flag"}, "flag", FromFlag},
	} {
		got, err := load(t, c.file, c.env, c.flags...)
		if err != nil {
			t.Fatal(err)
		}
		if got.Tower.Name != c.want || got.fields[0].Source != c.from {
			t.Errorf("got %s from %s, want %s from %s", got.Tower.Name, got.fields[0].Source, c.want, c.from)
		}
	}
}

// The defaults are what the first command runs on, offline.
func TestDefaultsAreOffline(t *testing.T) {
	c, err := load(t, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Wallet.Kind != "fake" || c.Wallet.Network != "regtest" || c.Model.Kind != "builtin" {
		t.Errorf("wallet %s on %s, model %s", c.Wallet.Kind, c.Wallet.Network, c.Model.Kind)
	}
	if c.StaticRate != 100_000*1_000_000 || !c.MadeUpRate {
		t.Errorf("rate %d, made up: %v", c.StaticRate, c.MadeUpRate)
	}
	if c.PublicURL != "http://127.0.0.1:8080" || c.RelayURL != "ws://127.0.0.1:8080" || c.MetricsAddr != "127.0.0.1:9090" {
		t.Errorf("%s %s %s", c.PublicURL, c.RelayURL, c.MetricsAddr)
	}
	if c.Sessions != (SessionSettings{100, 10000, 50, 24, "always"}) {
		t.Errorf("%+v", c.Sessions)
	}
	if p := c.Pricing; p.EvalIn != 250_000 || p.EvalOut != 1_250_000 || p.WorkIn != 3_000_000 || p.WorkOut != 15_000_000 || p.Infra != 1000 || p.Margin != 40_000_000 {
		t.Errorf("%+v", p)
	}
}

// Every row once fell back silently, or started a tower that could not work. The
// error names the variable, is one line, and ends the program.
func TestWrongSettingsNameTheirVariable(t *testing.T) {
	for _, c := range []struct{ vars, variable string }{
		{"SESSION_MIN_DEPOSIT_SATS=abc", ""},
		{"SESSION_MIN_DEPOSIT_SATS=0", ""},
		{"SESSION_MIN_DEPOSIT_SATS=-5", ""},
		{"SESSION_MIN_DEPOSIT_SATS=1e3", ""},
		{"SESSION_MAX_DEPOSIT_SATS=5.9", ""},
		{"SESSION_MIN_DEPOSIT_SATS=200 SESSION_MAX_DEPOSIT_SATS=100", ""},
		{"SESSION_MIN_BALANCE_SATS=101", ""},
		{"SESSION_EXPIRY_HOURS=1000000000", ""},
		{"SESSION_EXPIRY_HOURS=99999999999999999999", ""},
		{"TIMMY_WORK_USD_PER_MTOK_IN=-1", ""},
		{"TIMMY_WORK_USD_PER_MTOK_IN=1e9", ""},
		{"TIMMY_WORK_USD_PER_MTOK_IN=10001", ""},
		{"TIMMY_INFRA_USD=0.0000001", ""},
		{"TIMMY_INFRA_USD=NaN", ""},
		{"TIMMY_MARGIN_PERCENT=1000000000", ""},
		{"TIMMY_BTC_USD=0", ""},
		{"TIMMY_BTC_USD=1", ""},
		{"TIMMY_BTC_USD=60000 TIMMY_BTC_SOURCE=oracle", ""},
		{"TIMMY_BTC_SOURCE=static TIMMY_MODEL=openai TIMMY_WORK_MODEL=m TIMMY_OPENAI_BASE_URL=http://127.0.0.1:1", "TIMMY_BTC_USD"},
		{"TIMMY_PUBLIC_URL=timmy.org", ""},
		{"TIMMY_PUBLIC_URL=ftp://timmy.org", ""},
		{"TIMMY_PUBLIC_URL=http://timmy.org", ""},
		{"TIMMY_PUBLIC_URL=http://8.8.8.8", ""},
		{"TIMMY_PUBLIC_URL=https://timmy.org/path", ""},
		{"TIMMY_PUBLIC_URL=https://timmy.org?x", ""},
		{"TIMMY_PUBLIC_URL=https://user:planted@timmy.org", ""},
		{"TIMMY_LISTEN=8080", ""},
		{"TIMMY_LISTEN=127.0.0.1:99999", ""},
		{"TIMMY_METRICS_LISTEN=9090", ""},
		{"TIMMY_METRICS_LISTEN=127.0.0.1:8080", ""},
		{"TIMMY_OPERATORS=npub1planted", ""},
		{"TIMMY_TRUSTED_PROXIES=0.0.0.0/0", ""},
		{"TIMMY_TRUSTED_PROXIES=::/0", ""},
		{"TIMMY_TRUSTED_PROXIES=home", ""},
		{"TIMMY_INDEXERS=https://relay.org", ""},
		{"TIMMY_INDEXERS=wss://127.0.0.1", ""},
		{"TIMMY_WALLET=phoenix", ""},
		{"TIMMY_NETWORK=mainnet", ""},
		{"TIMMY_WALLET=lnbits", "TIMMY_LNBITS_URL"},
		{"TIMMY_WALLET=lnbits TIMMY_LNBITS_URL=https://lnbits.org", "TIMMY_LNBITS_KEY"},
		{"TIMMY_WALLET=lnbits TIMMY_LNBITS_URL=https://u:planted@lnbits.org TIMMY_LNBITS_KEY=planted", "TIMMY_LNBITS_URL"},
		{"TIMMY_LNBITS_KEY_FILE=/nowhere/planted", ""},
		{"TIMMY_WALLET=lnd", "TIMMY_LND_URL"},
		{"TIMMY_WALLET=lnd TIMMY_LND_URL=https://127.0.0.1:8080", "TIMMY_LND_MACAROON_FILE"},
		{"TIMMY_WALLET=cln TIMMY_CLN_URL=ftp://x", "TIMMY_CLN_URL"},
		{"TIMMY_WALLET=cln TIMMY_CLN_URL=https://127.0.0.1:3010", "TIMMY_CLN_RUNE"},
		{"TIMMY_WALLET=phoenixd", "TIMMY_PHOENIXD_PASSWORD"},
		{"TIMMY_WALLET=lnaddress", "TIMMY_LNADDRESS"},
		{"TIMMY_WALLET=phoenixd TIMMY_PHOENIXD_PASSWORD=planted TIMMY_PHOENIXD_URL=http://:planted@x", "TIMMY_PHOENIXD_URL"},
		{"TIMMY_MODEL=openai", "TIMMY_WORK_MODEL"},
		{"TIMMY_MODEL=openai TIMMY_WORK_MODEL=gpt", "TIMMY_OPENAI_API_KEY"},
		{"TIMMY_WORKERS=0", ""},
		{"TIMMY_SHOW_MACAROON=maybe", ""},
		{"TIMMY_ALLOW_PRIVATE_RELAYS=perhaps", ""},
		{"TIMMY_LOG_LEVEL=loud", ""},
		{"TIMMY_LISTN=x", ""},
		{"TIMMY_RELAY_WRITERS=friends", ""},
		{"TIMMY_RELAY_WRITERS=trusted", ""},
		{"TIMMY_RELAY_ALLOWED_KEYS=npub1planted", ""},
		{"TIMMY_RELAY_ADMISSION_SATS=500", ""},
		{"TIMMY_RELAY_ADMISSION_SATS=-1 TIMMY_RELAY_WRITERS=allowed", ""},
		{"TIMMY_RELAY_WRITER_TIER=elite", ""},
		{"TIMMY_RELAY_WRITER_TIER=new TIMMY_RELAY_WRITERS=allowed", ""},
		{"TIMMY_RELAY_POW_BITS=41", ""},
		{"TIMMY_RELAY_POW_BITS=20 TIMMY_RELAY_WRITERS=allowed", ""},
		{"TIMMY_RELAY_KINDS=65536", ""},
		{"TIMMY_RELAY_REFUSED_KINDS=9-1", ""},
		{"TIMMY_RELAY_RETENTION=7", ""},
		{"TIMMY_RELAY_RETENTION=7=0", ""},
		{"TIMMY_RELAY_RETENTION=x=9", ""},
		{"TIMMY_RELAY_RETENTION=1000-2000=2", ""},
		{"TIMMY_RELAY_RETENTION=*=2", ""},
		{"TIMMY_RELAY_EVENTS_PER_KEY=-1", ""},
		{"TIMMY_INBOX_RELAYS=https://relay.org", ""},
		{"TIMMY_TRUST_RELAYS=ws://relay.org", ""},
	} {
		vars := strings.Fields(c.vars)
		if c.variable == "" {
			c.variable, _, _ = strings.Cut(vars[0], "=")
		}
		got := runWith(t, append(vars, "TIMMY_DATA_DIR="+t.TempDir()), "config")
		line := strings.TrimSuffix(got.stderr, "\n")
		if got.code != exitFailed || !strings.HasPrefix(line, "timmy: "+c.variable) || strings.Contains(line, "\n") {
			t.Errorf("%s: exit %d, %q", c.vars, got.code, got.stderr)
		}
		if c.vars != "TIMMY_LNBITS_KEY_FILE=/nowhere/planted" && strings.Contains(got.stderr, "planted") {
			t.Errorf("%s: shows what may be a secret: %s", c.vars, got.stderr)
		}
	}
}

// A file with a slip in it must not half work.
func TestSettingsFileIsStrict(t *testing.T) {
	for _, c := range []struct{ file, want string }{
		{"[tower]\nlisten = '127.0.0.1:1'\nnmae = 'x'\n", ":3: unknown key tower.nmae; did you mean tower.name?"},
		{"[session]\nmin_deposit_sats = 5\n", ":1: unknown key session; did you mean sessions?"},
		{"listen = '127.0.0.1:1'\n", "did you mean tower.listen?"},
		{"[wallet]\nlnbits_key = 'planted'\n", "wallet.lnbits_key_file, or TIMMY_LNBITS_KEY"},
		{"[sessions]\nmin_deposit_sats = 5.9\n", ":2: sessions.min_deposit_sats (SESSION_MIN_DEPOSIT_SATS): want a whole number"},
		{"[sessions]\nmin_deposit_sats = '5'\n", "(SESSION_MIN_DEPOSIT_SATS): want a whole number"},
		{"[tower]\nworkers = true\n", "(TIMMY_WORKERS): want a whole number"},
		{"[pricing]\ninfra_usd = 0.0000001\n", "TIMMY_INFRA_USD"},
		{"[pricing]\nwork_usd_per_mtok_in = 20000\n", "TIMMY_WORK_USD_PER_MTOK_IN"},
		{"[sessions]\nmin_deposit_sats = 0\n", "SESSION_MIN_DEPOSIT_SATS: want a whole number from 1"},
		{"[tower\n", ":1:"},
	} {
		_, err := load(t, c.file, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "planted") {
			t.Errorf("%q: %v, want %q", c.file, err, c.want)
		}
	}
}

// Decimals in a file arrive as whole numbers or as floats; both are exact.
func TestPricesInAFileAreExact(t *testing.T) {
	c, err := load(t, "[pricing]\neval_usd_per_mtok_in = 2\neval_usd_per_mtok_out = 0.1\nwork_usd_per_mtok_in = '0.3'\nbtc_usd = 61234.56\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	p := c.Pricing
	if p.EvalIn != 2_000_000 || p.EvalOut != 100_000 || p.WorkIn != 300_000 || c.StaticRate != timmy.Rate(61_234_560_000) {
		t.Errorf("%+v, rate %d", p, c.StaticRate)
	}
}

// The example is the manual: uncommented, it must be valid and change nothing.
func TestExampleIsValidAndTheDefault(t *testing.T) {
	got := runWith(t, nil, "config", "example")
	var file strings.Builder
	for line := range strings.Lines(got.stdout) {
		if strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "# ") {
			line = line[1:]
		}
		file.WriteString(line)
	}
	c, err := load(t, file.String(), nil)
	if err != nil {
		t.Fatalf("%v in\n%s", err, file.String())
	}
	plain, err := load(t, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range c.fields {
		if f.Env == "TIMMY_DATA_DIR" || f.Env == "TIMMY_BTC_USD" {
			continue
		}
		if !f.secret() && f.Source != FromFile {
			t.Errorf("%s is missing from the example", f.Key)
		}
		if f.text() != plain.fields[i].text() {
			t.Errorf("%s is %s, not %s", f.Key, f.text(), plain.fields[i].text())
		}
	}
}

// No way of printing a setting may print a secret.
func TestSecretsAreNeverShown(t *testing.T) {
	const planted = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
	vars := []string{
		"TIMMY_WALLET=lnbits", "TIMMY_LNBITS_URL=http://127.0.0.1:5000", "TIMMY_LNBITS_KEY=" + planted,
		"TIMMY_OPENAI_API_KEY=" + planted, "TIMMY_DATA_DIR=" + t.TempDir(),
	}
	c, err := load(t, "", vars[:4])
	if err != nil || c.Wallet.LNbitsKey.Reveal() != planted {
		t.Fatal("the key is lost", err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", c.Wallet.LNbitsKey, "all", c.Wallet)
	hidden := struct{ key Secret }{c.Wallet.LNbitsKey}
	for _, out := range []string{
		runWith(t, vars, "config").stdout, runWith(t, vars, "config", "--json").stdout, log.String(),
		fmt.Sprintf("%v %+v %#v %s %q %x", c.Settings, c.Settings, c.Settings, c.Wallet.LNbitsKey, c.Wallet.LNbitsKey, c.Wallet.LNbitsKey),
		fmt.Sprintf("%v %+v %#v", hidden, hidden, hidden),
	} {
		if out == "" || strings.Contains(out, planted) || strings.Contains(out, fmt.Sprintf("%x", planted)) {
			t.Errorf("shown, or nothing printed: %s", out)
		}
	}
}

// Secrets of container systems come as files.
func TestSecretsComeFromFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte("planted\n"), 0o400); err != nil {
		t.Fatal(err)
	}
	c, err := load(t, "[wallet]\nkind = 'lnbits'\nlnbits_url = 'http://lnbits:5000'\nlnbits_key_file = '"+path+"'\n", nil)
	if err != nil || c.Wallet.LNbitsKey.Reveal() != "planted" || c.Wallet.Network != "mainnet" {
		t.Fatalf("%+v, %v", c, err)
	}
	c, err = load(t, "", []string{"TIMMY_LNBITS_KEY=direct", "TIMMY_LNBITS_KEY_FILE=" + path})
	if err != nil || c.Wallet.LNbitsKey.Reveal() != "direct" {
		t.Fatalf("%+v, %v", c, err)
	}
}

// What follows from the settings is what others are told.
func TestDerivedAddresses(t *testing.T) {
	for _, c := range []struct{ listen, public, url, relay string }{
		{"0.0.0.0:8080", "", "http://127.0.0.1:8080", "ws://127.0.0.1:8080"},
		{":8080", "", "http://127.0.0.1:8080", "ws://127.0.0.1:8080"},
		{"[::1]:8080", "", "http://[::1]:8080", "ws://[::1]:8080"},
		{"127.0.0.1:8080", "https://Timmy.Example/", "https://timmy.example", "wss://timmy.example"},
		{"127.0.0.1:8080", "http://192.168.1.2:8080", "http://192.168.1.2:8080", "ws://192.168.1.2:8080"},
		{"127.0.0.1:8080", "http://abc.onion", "http://abc.onion", "ws://abc.onion"},
	} {
		got, err := load(t, "", []string{"TIMMY_LISTEN=" + c.listen, "TIMMY_PUBLIC_URL=" + c.public})
		if err != nil || got.PublicURL != c.url || got.RelayURL != c.relay {
			t.Errorf("%+v: %v, %v", c, got, err)
		}
	}
	c, err := load(t, "", []string{"TIMMY_LISTEN=127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	c.bind("127.0.0.1:4711")
	if c.RelayURL != "ws://127.0.0.1:4711" {
		t.Error(c.RelayURL)
	}
}

// Metrics can be switched off in two ways; container files can only pass one.
func TestMetricsCanBeOff(t *testing.T) {
	for _, v := range []string{"", "off"} {
		c, err := load(t, "", []string{"TIMMY_METRICS_LISTEN=" + v})
		if err != nil || c.MetricsAddr != "" {
			t.Errorf("%q: %v %v", v, c, err)
		}
	}
}

// A service named timmy gets these from Kubernetes, whether it wants them or
// not.
func TestForeignVariablesAreNoMistake(t *testing.T) {
	if _, err := load(t, "", []string{"TIMMY_SERVICE_HOST=10.0.0.1", "TIMMY_PORT_8080_TCP=tcp://10.0.0.1:8080", "TIMMY_WALLET="}); err != nil {
		t.Error(err)
	}
}

// Lists tidy themselves.
func TestListsAreParsed(t *testing.T) {
	const npub = "npub180cvv07tjdrrgpa0j7j7tmnyl2yr6yr7l8j4s3evf6u64th6gkwsyjh6w6"
	const hex = "3bf0c63fcb93463407af97a5e5ee64fa883d107ef9e558472c4eb9aaaefa459d"
	c, err := load(t, "", []string{
		"TIMMY_OPERATORS=" + npub + ", " + hex, "TIMMY_TRUSTED_PROXIES=10.1.2.3/8,127.0.0.1",
		"TIMMY_INDEXERS=wss://purplepag.es/,wss://purplepag.es",
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Operators) != 1 || c.Operators[0].String() != hex {
		t.Error(c.Operators)
	}
	if fmt.Sprint(c.Proxies) != "[10.0.0.0/8 127.0.0.1/32]" || fmt.Sprint(c.Relay.Indexers) != "[wss://purplepag.es]" {
		t.Error(c.Proxies, c.Relay.Indexers)
	}
}
