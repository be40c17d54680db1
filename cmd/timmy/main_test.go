package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"timmy": main})
}

// TestCommandLine runs the scripts that are the specification of the command
// line.
func TestCommandLine(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", RequireExplicitExec: true})
}

// outcome is what a run left behind.
type outcome struct {
	code           int
	stdout, stderr string
}

// runWith runs a command with exactly these variables.
func runWith(t *testing.T, vars []string, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	env := testEnv(vars, args...)
	env.Stdout, env.Stderr = &stdout, &stderr
	code := run(context.Background(), env)
	return outcome{code, stdout.String(), stderr.String()}
}

func testEnv(vars []string, args ...string) Env {
	lookup := map[string]string{}
	for _, kv := range vars {
		name, value, _ := strings.Cut(kv, "=")
		lookup[name] = value
	}
	return Env{
		Args: args, Getenv: func(name string) string { return lookup[name] }, Environ: func() []string { return vars },
		Stdin: strings.NewReader(""), Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}, Now: time.Now, Rand: rand.Reader,
	}
}

// An error that mixes up failure and wrong usage sends a script the wrong way.
func TestWrongUsageIsToldFromFailure(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"bogus"}, exitUsage},
		{[]string{"config", "bogus"}, exitUsage},
		{[]string{"config", "--bogus"}, exitUsage},
		{[]string{"version", "extra"}, exitUsage},
		{[]string{"config", "--workers", "many"}, exitFailed},
		{[]string{"config", "--config", "/nowhere/timmy.toml"}, exitFailed},
		{[]string{"status", "--listen", "127.0.0.1:1"}, exitUnreachable},
		{[]string{"version"}, exitOK},
		{[]string{"--help"}, exitOK},
		{[]string{"completion", "bash"}, exitOK},
	} {
		if got := runWith(t, nil, c.args...); got.code != c.code {
			t.Errorf("timmy %s: exit %d, want %d; %s", strings.Join(c.args, " "), got.code, c.code, got.stderr)
		}
	}
}

// A command line is read by every user of the machine; what is on it is also not
// repeated into a log.
func TestSecretsAreRefusedOnTheCommandLine(t *testing.T) {
	const secret = "nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5"
	for _, args := range [][]string{
		{"keygen", "--nsec", secret},
		{"keygen", "--nsec=" + secret},
		{"config", "--operators", secret},
		{"config", "--operators=" + strings.ToUpper(secret)},
		{"config", "--lnbits-key=0123456789abcdef"},
		{"config", "--openai-api-key", "sk-planted"},
		{secret},
		{"--", secret},
	} {
		got := runWith(t, nil, args...)
		if got.code != exitUsage || !strings.Contains(got.stderr, "command line") {
			t.Errorf("%q: exit %d, %s", args, got.code, got.stderr)
		}
		for _, s := range []string{secret, strings.ToUpper(secret), "0123456789abcdef", "sk-planted"} {
			if strings.Contains(got.stdout+got.stderr, s) {
				t.Errorf("%q: the secret is repeated", args)
			}
		}
	}
}
