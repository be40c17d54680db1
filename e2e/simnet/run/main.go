package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/timmy-tower/timmy/e2e/simnet"
)

// startWait is far above the seconds that it takes.
const startWait = 5 * time.Minute

func main() {
	bin := flag.String("bin", "e2e/lightning/bin", "the folder of btcd and lnd")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *bin, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "simnet:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, bin string, in io.Reader, out io.Writer) error {
	dir, err := os.MkdirTemp("", "simnet-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer os.RemoveAll(dir)
	begun := time.Now()
	starting, done := context.WithTimeout(ctx, startWait)
	defer done()
	n, err := simnet.Start(starting, bin, dir, simnet.Simnet)
	if err != nil {
		return err
	}
	defer n.Close()
	fmt.Fprintf(out, "up after %s. A tower that is paid here:\n\n%s\n\n", time.Since(begun).Round(100*time.Millisecond), settings(n.Shop))
	fmt.Fprintln(out, "Give an invoice (and an amount in sats, if it has none) to pay it; Ctrl-C ends the network.")
	go payLines(ctx, n.Payer, in, out)
	<-ctx.Done()
	return nil
}

func settings(shop *simnet.Node) string {
	return strings.Join([]string{
		"export TIMMY_WALLET=lnd TIMMY_NETWORK=simnet TIMMY_BTC_USD=100000",
		"export TIMMY_LND_URL=" + shop.URL(),
		"export TIMMY_LND_MACAROON_FILE=" + shop.InvoiceMacaroonFile(),
		"export TIMMY_LND_CERT_FILE=" + shop.CertFile(),
	}, "\n")
}

// payLines pays what is asked for, one after the other.
func payLines(ctx context.Context, payer *simnet.Node, in io.Reader, out io.Writer) {
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var bolt11 string
		var sats int64
		if n, _ := fmt.Sscan(lines.Text(), &bolt11, &sats); n == 0 {
			continue
		}
		if err := payer.Pay(ctx, bolt11, sats); err != nil {
			fmt.Fprintln(out, "not paid:", err)
			continue
		}
		fmt.Fprintln(out, "paid")
	}
}
