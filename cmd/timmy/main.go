package main

import (
	"context"
	"crypto/rand"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/timmy-tower/timmy/failpoint"
)

// Env is what a run of the program takes from the outside, so that a test can
// give it something else.
type Env struct {
	Program string              // how the program was called; empty: timmy
	Args    []string            // without the program's name
	Getenv  func(string) string // one environment variable
	Environ func() []string     // all of them, as NAME=value; nil: names are not checked
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Now     func() time.Time
	Rand    io.Reader // cryptographic
}

func main() { os.Exit(run(context.Background(), processEnv())) }

func processEnv() Env {
	return Env{
		Program: os.Args[0], Args: os.Args[1:], Getenv: os.Getenv, Environ: os.Environ,
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Now: failpoint.Clock(time.Now), Rand: rand.Reader,
	}
}

// run runs one command and returns the exit code. The first SIGINT or SIGTERM
// ends the command's context; the second ends the process at once.
func run(ctx context.Context, env Env) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	if err := refuseSecrets(env.Args); err != nil {
		return report(env, err)
	}
	root := newRoot(env)
	started := false
	root.PersistentPreRun = func(*cobra.Command, []string) { started = true }
	err := root.ExecuteContext(ctx)
	if err != nil && !started {
		err = usageError(err)
	}
	return report(env, err)
}

// newRoot assembles the command tree. No subcommand may set a PersistentPreRun
// of its own: run uses the root's to tell wrong usage from failure.
func newRoot(env Env) *cobra.Command {
	root := &cobra.Command{
		Use:           "timmy",
		Short:         "An AI agent that lives on Nostr and is paid in sats",
		Long:          "Timmy Tower: an AI agent that lives on Nostr and is paid in sats.\nStart with \"timmy run\"; everything has a default.",
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetArgs(env.Args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	root.PersistentFlags().Bool("json", false, "print JSON; errors become one JSON object on stderr")
	root.AddCommand(commands(env)...)
	return root
}

// commands lists every subcommand.
func commands(env Env) []*cobra.Command {
	return []*cobra.Command{
		askCommand(env),
		backupCommand(env),
		configCommand(env),
		initCommand(env),
		keygenCommand(env),
		invoiceCommand(env),
		ledgerCommand(env),
		manCommand(),
		payCommand(env),
		relayCommand(env),
		restoreCommand(env),
		runCommand(env),
		statusCommand(env),
		verifyPaperCommand(env),
		versionCommand(env),
		walletCommand(env),
	}
}
