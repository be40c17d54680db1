package e2e

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	_ "github.com/mattn/go-sqlite3"
	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
	"github.com/timmy-tower/timmy/relay"
	"github.com/timmy-tower/timmy/wallet"
)

// asker is somebody with a key who asks by direct message and insists: a question
// is sent until the relay says OK.
type asker struct {
	t    *testing.T
	tw   *tower
	key  nip.Key
	to   timmy.PubKey
	asks map[string]string // question's id → what its answer must contain
	paid map[string]bool   // bolt11s
	b    *books
}

func newAsker(t *testing.T, tw *tower, to string) *asker {
	key, err := nip.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := timmy.ParsePubKey(to)
	if err != nil {
		t.Fatal(err)
	}
	return &asker{t: t, tw: tw, key: key, to: k, asks: map[string]string{}, paid: map[string]bool{}}
}

// load zaps once and then asks, until the test is over.
func (a *asker) load(b *books, over *atomic.Bool) {
	a.b = b
	if !a.zap(3000) {
		return
	}
	for n := 0; !over.Load(); n++ {
		a.ask(fmt.Sprintf("What is %d*%d?", n+11, n+7), fmt.Sprint((n+11)*(n+7)))
		time.Sleep(50 * time.Millisecond)
	}
}

// ask sends one question until it is accepted.
func (a *asker) ask(text, want string) {
	l := nip.Letter{To: a.to, Scheme: nip.NIP17, Text: text, At: time.Now()}
	events, err := nip.Seal(a.key, l, rand.Reader)
	if err != nil {
		a.t.Error(err)
		return
	}
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(30 * time.Millisecond) {
		if a.publish(events[0]) == nil {
			a.asks[l.RumorID(a.key.Public())] = want
			return
		}
	}
	a.t.Errorf("a question was not accepted within three minutes")
}

func (a *asker) dial(ctx context.Context) (*relay.Conn, error) {
	return relay.Dial(ctx, a.tw.relay(), relay.DialOptions{AllowPrivate: true, Auth: func(url, challenge string) (*nostr.Event, error) {
		return nip.Auth(a.key, url, challenge, time.Now())
	}})
}

func (a *asker) publish(ev *nostr.Event) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Publish(ctx, ev)
}

// zap pays sats into the asker's account by a zap of the tower.
func (a *asker) zap(sats int64) bool {
	z, err := nip.ZapRequestEvent(a.key, a.to, nip.ZapRequest{Amount: timmy.FromSats(sats), Relays: []string{a.tw.relay()}}, time.Now())
	if err != nil {
		a.t.Error(err)
		return false
	}
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(30 * time.Millisecond) {
		var reply struct{ PR, Reason string }
		q := url.Values{"amount": {fmt.Sprint(sats * 1000)}, "nostr": {z.String()}}
		if getJSON(a.tw.http()+"/lnurlp/timmy/callback?"+q.Encode(), &reply) == nil && reply.PR != "" {
			return a.pay(reply.PR, sats)
		}
	}
	a.t.Errorf("no invoice for a zap within three minutes")
	return false
}

func (a *asker) pay(bolt11 string, sats int64) bool {
	if err := payUntilPaid(a.tw, bolt11); err != nil {
		a.t.Error(err)
		return false
	}
	d, err := wallet.Decode(bolt11)
	if err != nil {
		a.t.Error(err)
		return false
	}
	a.paid[bolt11] = true
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	a.b.paid[d.Hash.String()] = sats
	return true
}

// messages reads everything the tower ever wrote to this key: question → message
// id → text.
func (a *asker) messages() (map[string]map[string]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := a.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.Auth(ctx); err != nil {
		return nil, err
	}
	said := map[string]map[string]string{}
	events, err := fetchAll(ctx, c, a.key.Public().String())
	if err != nil {
		return nil, err
	}
	for _, ev := range events {
		m, err := nip.Open(a.key, ev, time.Now())
		if err != nil || m.From != a.to {
			continue
		}
		if said[m.Parent] == nil {
			said[m.Parent] = map[string]string{}
		}
		said[m.Parent][m.ID] = m.Text
	}
	return said, nil
}

// fetchAll pages back through the wraps of a key.
func fetchAll(ctx context.Context, c *relay.Conn, key string) ([]*nostr.Event, error) {
	var all []*nostr.Event
	seen := map[string]bool{}
	f := nostr.Filter{Kinds: []int{1059}, Tags: nostr.TagMap{"p": {key}}, Limit: 200}
	for range 100 {
		page, err := c.Fetch(ctx, f)
		if err != nil {
			return nil, err
		}
		fresh := 0
		for _, ev := range page {
			if !seen[ev.ID] {
				seen[ev.ID] = true
				fresh++
				all = append(all, ev)
			}
			if f.Until == nil || ev.CreatedAt < *f.Until {
				until := ev.CreatedAt
				f.Until = &until
			}
		}
		if fresh == 0 {
			return all, nil
		}
	}
	return all, nil
}

var invoiceLine = regexp.MustCompile(`(?m)^lnbcrt[0-9a-z]+$`)

// final says whether a message is the end of a question, not its bill.
func final(text string) bool {
	return !invoiceLine.MatchString(text) && !strings.HasPrefix(text, "✓")
}

// settle pays what is still asked for and waits until every question has its
// answer.
func (a *asker) settle() {
	a.t.Helper()
	missing := 0
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		said, err := a.messages()
		if err != nil {
			continue
		}
		missing = 0
		for id := range a.asks {
			if answered(said[id]) {
				continue
			}
			missing++
			for _, text := range said[id] {
				if bolt11 := invoiceLine.FindString(text); bolt11 != "" && !a.paid[bolt11] {
					d, _ := wallet.Decode(bolt11)
					a.pay(bolt11, d.Amount.Sats())
				}
			}
		}
		if missing == 0 {
			return
		}
	}
	a.t.Errorf("%d questions that were accepted have no answer", missing)
}

func answered(messages map[string]string) bool {
	for _, text := range messages {
		if final(text) {
			return true
		}
	}
	return false
}

// check holds that every accepted question was answered exactly once, and
// rightly. It returns how many there were.
func (a *asker) check() int {
	a.t.Helper()
	said, err := a.messages()
	if err != nil {
		a.t.Fatal(err)
	}
	for id, want := range a.asks {
		var answers []string
		for _, text := range said[id] {
			if final(text) {
				answers = append(answers, text)
			}
		}
		if len(answers) != 1 || !strings.Contains(strings.ReplaceAll(answers[0], ",", ""), want) {
			a.t.Errorf("question %s has %d answers, want one with %s: %q", id, len(answers), want, answers)
		}
	}
	return len(a.asks)
}

func getJSON(url string, into any) error {
	res, err := http.Get(url)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return json.NewDecoder(res.Body).Decode(into)
}

// errLapsed says that an invoice expired before anybody paid it.
var errLapsed = errors.New("the invoice has expired")

// payUntilPaid pays over the control socket, as `timmy pay` does, until some
// tower took it. It gives up with errLapsed where the tower says that the invoice
// has expired and the clock of this test, which is right, says so too.
func payUntilPaid(tw *tower, bolt11 string) error {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(tw.data, "timmy.sock"))
		},
	}}
	last := errors.New("no tower")
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		res, err := client.Post("http://timmy/pay", "application/json", strings.NewReader(fmt.Sprintf(`{"bolt11":%q}`, bolt11)))
		if err != nil {
			last = err
			continue
		}
		said, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode == http.StatusOK {
			return nil
		}
		d, err := wallet.Decode(bolt11)
		if err != nil {
			return err
		}
		if strings.Contains(string(said), string(timmy.Expired)) && !time.Now().Before(d.Expires()) {
			return errLapsed
		}
		last = fmt.Errorf("%d: %s", res.StatusCode, said)
	}
	return fmt.Errorf("an invoice could not be paid within three minutes: %w", last)
}

// readBooks asks the books one number, with the tower stopped.
func readBooks(t *testing.T, tw *tower, query string) int64 {
	t.Helper()
	d, err := sqlx.Open("sqlite3", "file:"+filepath.Join(tw.data, "ledger.db")+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var n int64
	if err := d.Get(&n, query); err != nil {
		t.Fatal(err)
	}
	return n
}

func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
