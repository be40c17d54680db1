package wallet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/timmy-tower/timmy/nip"
)

// nwcNeeds is what a connection has to allow.
const nwcNeeds = "make_invoice, lookup_invoice, list_transactions, get_info and the notification payment_received"

// Probe asks what the connection may do, and says what is missing and what it
// should not be able to do.
func (n *NWC) Probe(ctx context.Context) Report {
	var r Report
	n.forget()
	info, err := n.negotiate(ctx)
	if err != nil {
		text := refused(err, nwcNeeds)
		if errors.Is(err, errNoInfo) {
			text = "nothing is heard of the wallet at its relay: is it running and connected, and is the connection still in its list?"
		}
		r.add("reach the wallet", Missing, text)
		return r
	}
	if _, ok := info.Scheme(); !ok {
		r.add("reach the wallet", Missing, "it knows neither NIP-44 nor NIP-04 encryption")
		return r
	}
	var said struct {
		Alias   loose `json:"alias"`
		Network loose `json:"network"`
		Methods []any `json:"methods"`
		Notes   []any `json:"notifications"`
	}
	err = n.read(ctx, "get_info", map[string]any{}, &said)
	if err != nil && !nwcDenied(err) {
		r.add("reach the wallet", Missing, refused(err, nwcNeeds))
		return r
	}
	r.add("reach the wallet", Good, "")
	r.fact("wallet", said.Alias.text())
	if s := said.Network.text(); s != "" {
		r.network(s, n.cfg.Network)
	}
	methods, notes := texts(said.Methods), texts(said.Notes)
	if len(methods) == 0 { // older wallets tell it for all connections alike
		methods, notes = info.Methods, info.Notifications
	}
	r.fact("methods", strings.Join(methods, " "))
	r.permissions(methods, notes)
	if s, _ := info.Scheme(); s == nip.NIP04 {
		r.add("encryption", Warning, "the wallet knows NIP-04 alone, which is weak: update it")
	}
	return r
}

// permissions judges a connection's methods, one by one.
func (r *Report) permissions(methods, notes []string) {
	for _, need := range []struct{ method, what, without string }{
		{"make_invoice", "make invoices", ""},
		{"lookup_invoice", "see what was paid", ""},
		{"list_transactions", "list payments", "what is paid long after its invoice expired, or while the tower was away for more than a day, is not found"},
	} {
		switch {
		case slices.Contains(methods, need.method):
			r.add(need.what, Good, "")
		case need.without == "":
			r.add(need.what, Missing, fmt.Sprintf("the connection does not allow %s: make one that allows %s", need.method, nwcNeeds))
		default:
			r.add(need.what, Warning, fmt.Sprintf("the connection does not allow %s: %s", need.method, need.without))
		}
	}
	if !slices.Contains(notes, "payment_received") {
		r.add("be told of payments", Warning, "the wallet sends no notification payment_received: payments are found by asking, some seconds later")
	}
	var spends []string
	for _, m := range methods {
		if strings.HasPrefix(m, "pay_") || strings.HasPrefix(m, "multi_pay") {
			spends = append(spends, m)
		}
	}
	if len(spends) > 0 {
		r.add("least privilege", Warning, fmt.Sprintf("the connection can spend (%s), which the tower does for refunds alone: without them make one that cannot, and revoke this one", strings.Join(spends, ", ")))
	}
}

// texts are the strings of a list that may hold anything.
func texts(list []any) (out []string) {
	for _, v := range list[:min(len(list), maxProbeWords)] {
		if s, ok := v.(string); ok && s != "" {
			out = append(out, cut(s, maxRef))
		}
	}
	return out
}
