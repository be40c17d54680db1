package wallet

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/nip"
)

// nwcNode is a wallet behind NIP-47 and the relays in front of it: what is asked
// is answered at once or not at all, nothing but the info event is kept.
type nwcNode struct {
	*node
	uri    nip.WalletURI
	key    nip.Key
	scheme nip.Scheme

	// What a test scripts, under the node's mutex.
	methods []string
	drop    func(method string) bool                // says nothing
	refuse  func(method string) *nip.WalletError    // says no
	garble  func(method, text string) string        // says something else
	scripts map[string]string                       // says this, a result or "!CODE"
	meta    bool                                    // keeps metadata
	notify  func(send func(kind int, s nip.Scheme)) // instead of one notification of each kind
	subs    map[int]func(*nostr.Event)
	next    int
	asked   map[string]int // by method
	down    map[string]bool
	lastTag nostr.Tags
	last    string // params of the last request
}

func newNWCNode(t testing.TB, scheme nip.Scheme) *nwcNode {
	t.Helper()
	wallet, err := nip.NewKey([32]byte{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	client, err := nip.NewKey([32]byte{4, 5, 6})
	if err != nil {
		t.Fatal(err)
	}
	c := &clock{at: born}
	n := &nwcNode{
		node:   &node{t: t, clock: c, said: map[timmy.Hash]string{}, wake: make(chan struct{}), quit: make(chan struct{})},
		uri:    nip.WalletURI{Wallet: wallet.Public(), Relays: []string{"wss://one.example", "wss://two.example"}, Key: client},
		key:    wallet,
		scheme: scheme, meta: true,
		methods: []string{"make_invoice", "lookup_invoice", "list_transactions", "get_info"},
		subs:    map[int]func(*nostr.Event){}, asked: map[string]int{}, down: map[string]bool{},
	}
	n.fake = openFake(t, t.TempDir()+"/node.jsonl", c)
	t.Cleanup(func() { close(n.quit) })
	return n
}

func (n *nwcNode) wallet(t testing.TB) *NWC {
	t.Helper()
	w, err := NewNWC(NWCConfig{URI: n.uri, Relays: n, Network: Regtest, Now: n.clock.now, Rand: rand.Reader, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

var errRelayDown = errors.New("the relay is down")

// Fetch has the info event.
func (n *nwcNode) Fetch(_ context.Context, url string, f nostr.Filter) ([]*nostr.Event, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down[url] {
		return nil, errRelayDown
	}
	if n.methods == nil || !slices.Equal(f.Kinds, []int{nip.KindWalletInfo}) {
		return nil, nil
	}
	ev := &nostr.Event{Kind: nip.KindWalletInfo, CreatedAt: 1, Content: join(n.methods), Tags: nostr.Tags{{"notifications", "payment_received payment_sent"}}}
	if n.scheme == nip.NIP44 {
		ev.Tags = append(ev.Tags, nostr.Tag{"encryption", "nip44_v2 nip04"})
	}
	return []*nostr.Event{ev}, n.key.Sign(ev)
}

func join(words []string) (s string) {
	for _, w := range words {
		s += w + " "
	}
	return s
}

// Ask answers.
func (n *nwcNode) Ask(ctx context.Context, url string, f nostr.Filter, ev *nostr.Event, each func(*nostr.Event) bool) error {
	n.mu.Lock()
	down := n.down[url]
	n.mu.Unlock()
	if down {
		return errRelayDown
	}
	answer := n.serve(ev)
	if answer != nil {
		// A stranger's answer and one to another request come first.
		forged := *answer
		forged.Tags = nostr.Tags{{"p", n.uri.Key.Public().String()}, {"e", n.uri.Wallet.String()}}
		if each(&forged) {
			n.t.Error("an answer to another request was taken")
		}
		if !f.Matches(answer) {
			n.t.Error("the filter does not match the answer")
		}
		if each(answer) {
			return nil
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

// Subscribe hands on notifications.
func (n *nwcNode) Subscribe(ctx context.Context, _ string, _ nostr.Filter, each func(*nostr.Event)) error {
	n.mu.Lock()
	id := n.next
	n.next++
	n.subs[id] = each
	n.mu.Unlock()
	<-ctx.Done()
	n.set(func() { delete(n.subs, id) })
	return ctx.Err()
}

func (n *nwcNode) open(ev *nostr.Event) (method string, params map[string]any) {
	decrypt := nip.Decrypt44
	if n.scheme == nip.NIP04 {
		decrypt = nip.Decrypt04
	}
	text, err := decrypt(n.key, n.uri.Key.Public(), ev.Content)
	var ask struct {
		Method string
		Params map[string]any
	}
	if err != nil || json.Unmarshal([]byte(text), &ask) != nil || nip.Verify(ev) != nil {
		n.t.Errorf("a request that cannot be read: %v", err)
	}
	return ask.Method, ask.Params
}

func (n *nwcNode) serve(ev *nostr.Event) *nostr.Event {
	n.calls.Add(1)
	method, params := n.open(ev)
	n.mu.Lock()
	n.asked[method]++
	n.lastTag, n.last = ev.Tags, fmt.Sprint(params)
	garble := n.garble
	dropped := n.drop != nil && n.drop(method)
	var result any
	var no *nip.WalletError
	if n.refuse != nil && !dropped {
		no = n.refuse(method)
	}
	n.mu.Unlock()
	if dropped {
		return nil
	}
	line, scripted := n.scripts[method]
	switch code, refused := strings.CutPrefix(line, "!"); {
	case no != nil:
	case refused:
		no = &nip.WalletError{Code: code, Message: "x"}
	case scripted:
		result = json.RawMessage(line)
	default:
		result, no = n.answer(method, params)
	}
	out := map[string]any{"result_type": method, "error": nil, "result": result}
	if no != nil {
		out["error"], out["result"] = map[string]string{"code": no.Code, "message": no.Message}, nil
	}
	text, _ := json.Marshal(out)
	if garble != nil {
		text = []byte(garble(method, string(text)))
	}
	return n.say(nip.KindWalletResponse, n.scheme, string(text), nostr.Tag{"e", ev.ID})
}

func (n *nwcNode) say(kind int, scheme nip.Scheme, text string, tags ...nostr.Tag) *nostr.Event {
	encrypt := nip.Encrypt44
	if scheme == nip.NIP04 {
		encrypt = nip.Encrypt04
	}
	content, err := encrypt(n.key, n.uri.Key.Public(), text, rand.Reader)
	if err != nil {
		n.t.Error(err)
	}
	ev := &nostr.Event{Kind: kind, CreatedAt: 1, Content: content, Tags: append(nostr.Tags{{"p", n.uri.Key.Public().String()}}, tags...)}
	if err := n.key.Sign(ev); err != nil {
		n.t.Error(err)
	}
	return ev
}

func (n *nwcNode) answer(method string, params map[string]any) (any, *nip.WalletError) {
	n.mu.Lock()
	methods := n.methods
	n.mu.Unlock()
	if !slices.Contains(methods, method) {
		return nil, &nip.WalletError{Code: nip.WalletRestricted, Message: "not for this connection"}
	}
	switch method {
	case "get_info":
		return map[string]any{"alias": "hub", "network": "regtest", "methods": methods, "notifications": []string{"payment_received"}}, nil
	case "make_invoice":
		return n.make(params)
	case "lookup_invoice":
		h, _ := timmy.ParseHash(params["payment_hash"].(string))
		if v, ok := n.view(h); ok {
			return v, nil
		}
		return nil, &nip.WalletError{Code: nip.WalletNotFound, Message: "no such invoice"}
	case "list_transactions":
		return n.list(params), nil
	}
	return nil, &nip.WalletError{Code: nip.WalletNotImpl}
}

func (n *nwcNode) make(params map[string]any) (any, *nip.WalletError) {
	top := timmy.TopUp{Amount: timmy.Msat(params["amount"].(float64))}
	top.Memo, _ = params["description"].(string)
	if s, ok := params["description_hash"].(string); ok {
		_, _ = hex.Decode(top.DescriptionHash[:], []byte(s))
	}
	meta, _ := json.Marshal(params["metadata"])
	n.mu.Lock()
	kept := n.meta
	n.mu.Unlock()
	if !kept {
		meta = nil
	}
	inv, err := n.issue(top, top.Memo+"\x00"+string(meta), time.Duration(params["expiry"].(float64))*time.Second)
	if err != nil {
		return nil, &nip.WalletError{Code: nip.WalletInternal, Message: err.Error()}
	}
	v, _ := n.view(inv.Hash)
	n.set(func() {
		if n.tamper != nil {
			n.tamper(v)
		}
	})
	return v, nil
}

// view is the wallet's transaction; it shows the preimage before anybody paid.
func (n *nwcNode) view(h timmy.Hash) (map[string]any, bool) {
	inv, said, ok := n.invoice(h)
	if !ok {
		return nil, false
	}
	memo, meta := said, "null"
	for i := range said {
		if said[i] == 0 {
			memo, meta = said[:i], said[i+1:]
			break
		}
	}
	out := map[string]any{
		"type": "incoming", "state": "pending", "invoice": inv.Bolt11, "description": memo, "preimage": hex.EncodeToString(inv.preimage[:]),
		"payment_hash": h.String(), "amount": int64(inv.Amount), "fees_paid": 0, "created_at": born.Unix(), "expires_at": inv.Expires.Unix(),
	}
	if meta != "" {
		out["metadata"] = json.RawMessage(meta)
	}
	if inv.seq > 0 {
		out["state"], out["settled_at"], out["amount"] = "settled", inv.at.Unix(), int64(inv.received)
	}
	return n.changed(out), true
}

func (n *nwcNode) list(params map[string]any) any {
	all, _ := n.fake.List(context.Background(), time.Time{})
	slices.Reverse(all)
	limit, offset := min(int(params["limit"].(float64)), 20), int(params["offset"].(float64))
	rows := []any{}
	for _, p := range all[min(offset, len(all)):min(offset+limit, len(all))] {
		v, _ := n.view(p.Hash)
		rows = append(rows, v)
	}
	return map[string]any{"transactions": rows}
}

// pay settles, and notifies in both encryptions as some wallets do.
func (n *nwcNode) pay(bolt11 string, received timmy.Msat) {
	p, err := n.fake.Pay(context.Background(), bolt11, received)
	if err != nil {
		n.t.Error(err)
		return
	}
	text := `{"notification_type":"payment_received","notification":{"type":"incoming","payment_hash":"` + p.Hash.String() + `","amount":99999999}}`
	send := func(kind int, scheme nip.Scheme) {
		ev := n.say(kind, scheme, text)
		var subs []func(*nostr.Event)
		n.set(func() {
			for _, each := range n.subs {
				subs = append(subs, each)
			}
		})
		for _, each := range subs {
			each(ev)
		}
	}
	n.mu.Lock()
	notify := n.notify
	n.mu.Unlock()
	if notify != nil {
		notify(send)
		return
	}
	send(nip.KindWalletNote44, nip.NIP44)
	send(nip.KindWalletNote04, nip.NIP04)
}

// listening waits until both relays have a subscription.
func (n *nwcNode) listening() {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		n.mu.Lock()
		k := len(n.subs)
		n.mu.Unlock()
		if k >= len(n.uri.Relays) {
			return
		}
	}
	n.t.Error("nobody subscribes")
}

// times is how often a method was asked for.
func (n *nwcNode) times(method string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked[method]
}
