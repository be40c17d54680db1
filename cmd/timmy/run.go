package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/timmy-tower/timmy/nip"
)

const (
	headerTimeout  = 5 * time.Second // a client that is slower than this sends no request
	idleTimeout    = 2 * time.Minute // of kept connections
	maxHeaderBytes = 12 << 10        // net/http adds 4 KiB: a header of 17 kB is refused, a long zap request is not
	maxURI         = 8 << 10         // of everything but LNURL, whose queries carry whole events
	housekeeping   = time.Minute
	lastDeliveries = 3 * time.Second // for the courier, once nothing new can come

	// heapFloor is what the collector takes for used besides what is. It runs when the heap
	// has doubled, which that of a quiet tower, some megabytes, does many times a second once
	// there is work. The block is never touched, so that it takes no memory itself.
	heapFloor = 16 << 20
)

func runCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the tower",
		Long:  "Run the tower until it is told to stop (SIGINT, SIGTERM). Everything has a default: without any setting it runs offline, with a test wallet and a small built-in model.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadSettings(env, cmd)
			if err != nil {
				return err
			}
			return runTower(cmd.Context(), env, c)
		},
	}
	addSettingFlags(cmd)
	return cmd
}

// runTower holds the data directory, builds the tower and serves until ctx ends.
func runTower(ctx context.Context, env Env, c *Config) error {
	floor := make([]byte, heapFloor)
	defer runtime.KeepAlive(floor)
	log := newLogger(env, c)
	lock, err := lockDir(c.Tower.DataDir)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	l, err := listen(ctx, "TIMMY_LISTEN", c.Tower.Listen)
	if err != nil {
		return err
	}
	c.bind(l.Addr().String())
	p, err := openParts(ctx, env, c, log)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	return p.serve(ctx, l)
}

// stage is a set of goroutines that end together. The tower stops stage by
// stage: doors, pipelines, files.
type stage struct {
	ctx    context.Context
	cancel context.CancelFunc
	group  *errgroup.Group
	fail   context.CancelCauseFunc
}

func newStage(parent context.Context, fail context.CancelCauseFunc) *stage {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	return &stage{ctx: ctx, cancel: cancel, group: &errgroup.Group{}, fail: fail}
}

// run starts one part. A part that ends with an error ends the tower.
func (s *stage) run(name string, f func(context.Context) error) {
	s.group.Go(func() error {
		err := f(s.ctx)
		if err == nil || (errors.Is(err, context.Canceled) && s.ctx.Err() != nil) {
			return nil
		}
		err = fmt.Errorf("%s: %w", name, err)
		s.fail(err)
		return err
	})
}

func (s *stage) end() error {
	s.cancel()
	return s.group.Wait()
}

func (p *parts) serve(ctx context.Context, l net.Listener) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	files, pipes, work, doors := newStage(ctx, fail), newStage(ctx, fail), newStage(ctx, fail), newStage(ctx, fail)
	files.run("ledger", p.ledger.Run)
	files.run("events", p.events.Run)
	closeFiles := func() error {
		return errors.Join(files.end(), p.ledger.Close(), p.events.Close(), p.wallet.close())
	}
	if err := p.build(ctx); err != nil {
		return errors.Join(err, l.Close(), closeFiles())
	}
	work.run("desk", p.desk.Run)
	p.startPipes(pipes)
	server, err := p.startDoors(doors, l)
	if err != nil {
		return errors.Join(err, doors.end(), work.end(), pipes.end(), closeFiles())
	}
	p.announce(ctx)
	p.banner()
	<-ctx.Done()
	p.log.Info("stopping: what runs may finish")
	return errors.Join(p.stop(server, doors, work, pipes), closeFiles(), cause(ctx))
}

// cause is why the tower ended by itself; nil when it was told to.
func cause(ctx context.Context) error {
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (p *parts) startPipes(s *stage) {
	s.run("till", p.till.Run)
	if p.payouts != nil {
		s.run("payouts", p.payouts.Run)
	}
	s.run("courier", p.courier.Run)
	s.run("relay client", p.client.Run)
	if p.web != nil {
		s.run("web of trust", p.web.Run)
	}
	if p.gatherer != nil {
		s.run("inbox relays", p.gatherer.Run)
	}
	s.run("housekeeping", p.keepHouse)
	s.run("watch", p.watchOver)
	s.run("sealer", p.sealer.Run)
	if run := p.wallet.run(); run != nil {
		s.run("wallet", run)
	}
	if p.rates.run != nil {
		s.run("bitcoin price", p.rates.run)
	}
}

func (p *parts) startDoors(s *stage, l net.Listener) (*http.Server, error) {
	s.run("relay", p.relay.Run)
	s.run("control socket", func(ctx context.Context) error {
		return serveControl(ctx, filepath.Join(p.cfg.Tower.DataDir, controlSocket), p.controlAPI())
	})
	server := newServer(p.front())
	server.RegisterOnShutdown(p.rest.Drain)
	door := newGate(l, gateShare*int(p.cfg.Relay.PerAddress), p.cfg.Proxies)
	s.run("http", func(context.Context) error { return served(server.Serve(door)) })
	return server, p.startMetrics(s)
}

// startMetrics serves them on a listener of their own. A port that is taken ends
// the tower only if somebody asked for that port: two towers on one machine are
// nothing unusual.
func (p *parts) startMetrics(s *stage) error {
	c := p.cfg
	if c.MetricsAddr == "" {
		return nil
	}
	l, err := listen(s.ctx, "TIMMY_METRICS_LISTEN", c.MetricsAddr)
	if err != nil && !c.isSet("TIMMY_METRICS_LISTEN") {
		p.log.Warn("no metrics: the port is taken", "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	server := newServer(p.rest.Metrics())
	s.run("metrics", func(context.Context) error { return served(server.Serve(l)) })
	context.AfterFunc(s.ctx, func() { server.Close() })
	return nil
}

func newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // one line per broken handshake is a stranger's way to fill the disk
	}
}

func served(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// front sends each call to its door: websockets and NIP-11 to the relay, the
// well-known names to lnurl, the rest to rest.
func (p *parts) front() http.Handler {
	pages := p.rest.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A socket that is handed over, as the relay's are, loses it again.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTime))
		switch {
		case p.relay.Handles(r):
			p.relay.ServeHTTP(w, r)
		case strings.HasPrefix(r.URL.Path, "/.well-known/"), strings.HasPrefix(r.URL.Path, "/lnurlp/"):
			p.lnurl.ServeHTTP(w, r)
		case len(r.RequestURI) > maxURI:
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			w.WriteHeader(http.StatusRequestURITooLong)
			io.WriteString(w, `{"error":"URI too long"}`+"\n")
		default:
			pages.ServeHTTP(w, r)
		}
	})
}

// stop closes the doors while the desk finishes what it has, and gives the
// courier a moment for the last answers.
func (p *parts) stop(server *http.Server, doors, work, pipes *stage) error {
	p.stopping.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(p.cfg.Tower.Shutdown)*time.Second)
	defer cancel()
	doors.cancel()
	work.cancel()
	err := server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	err = errors.Join(err, doors.end(), work.end())
	p.flush(ctx)
	return errors.Join(err, pipes.end())
}

// flush waits until the courier has nothing left that is due, but not long: what
// stays behind goes out after the next start.
func (p *parts) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lastDeliveries)
	defer cancel()
	tick := time.NewTicker(lastDeliveries / 100)
	defer tick.Stop()
	for {
		if due, err := p.book.Due(ctx, p.env.Now(), 1); err != nil || len(due) == 0 {
			return
		}
		<-tick.C
	}
}

// keepHouse does what nobody waits for: expiry, and throwing away what is old.
func (p *parts) keepHouse(ctx context.Context) error {
	tick := time.NewTicker(housekeeping)
	defer tick.Stop()
	for {
		if _, err := p.book.ExpireSessions(ctx, p.env.Now()); err != nil && ctx.Err() == nil {
			p.log.Error("expiring sessions", "err", err)
		}
		if _, err := p.book.Prune(ctx, p.env.Now()); err != nil && ctx.Err() == nil {
			p.log.Error("throwing away what is old", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// announce publishes who the tower is. A failure is logged, not fatal: the next
// start tries again.
func (p *parts) announce(ctx context.Context) {
	c := p.cfg
	events, err := nip.Announcements(p.key, nip.Profile{
		Name: c.Tower.Name, About: "An AI agent you pay per question in sats. Send me a direct message.", Lud16: address(c),
		Nip05: address(c), Website: c.PublicURL, RelayURL: c.RelayURL, InboxRelays: c.Relay.InboxRelays, Web: c.PublicURL, PriceLine: priceLine(c, p.rates.Rate),
	}, p.env.Now())
	if err == nil {
		err = p.courier.Announce(ctx, events)
	}
	if err != nil {
		p.log.Error("announcing the tower", "err", err)
	}
}

// controlAPI is what commands beside the running tower ask it to do.
func (p *parts) controlAPI() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /pay", controlHandler(p.pay))
	p.booksAPI(mux)
	p.relayAPI(mux)
	return mux
}

func (p *parts) pay(ctx context.Context, o payOrder) (paidReport, error) {
	if p.wallet.fake == nil {
		return paidReport{}, errNotFake
	}
	return payFake(ctx, p.wallet.fake, o)
}

// isSet reports whether somebody set a variable, anywhere.
func (c *Config) isSet(variable string) bool {
	return slices.ContainsFunc(c.fields, func(f *field) bool { return f.Env == variable && f.Source != FromDefault })
}
