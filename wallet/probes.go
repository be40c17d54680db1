package wallet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Probe tells what the test wallet is.
func (f *Fake) Probe(context.Context) Report {
	var r Report
	r.fact("network", string(Regtest))
	r.add("real sats", Warning, "none: anybody can settle its invoices. Set TIMMY_WALLET to a real wallet to be paid")
	return r
}

// Probe asks for the wallet's name and its list of payments.
func (l *LNbits) Probe(ctx context.Context) Report {
	var r Report
	var w struct {
		Name    loose `json:"name"`
		Balance loose `json:"balance"`
		ID      loose `json:"id"`
	}
	if !r.try("reach the wallet", "the invoice/read key of the wallet", l.call.get(ctx, "/api/v1/wallet", &w)) {
		return r
	}
	r.fact("wallet", w.Name.text())
	if n, ok := w.Balance.integer(); ok {
		r.fact("balance", fmt.Sprintf("%d sats", n/1000))
	}
	if w.ID.text() != "" {
		r.add("least privilege", Warning, "this is the admin key, which can spend: use the invoice/read key")
	}
	var rows []lnbitsPayment
	r.try("read payments", "the invoice/read key of the wallet", l.call.get(ctx, "/api/v1/payments?limit=1", &rows))
	return r
}

// Probe asks for the node's state, its invoices, and its name if the macaroon
// allows that.
func (l *LND) Probe(ctx context.Context) Report {
	var r Report
	var state struct {
		State loose `json:"state"`
	}
	if err := l.call.get(ctx, "/v1/state", &state); err != nil {
		r.add("reach the node", Missing, refused(err, "nothing"))
		return r
	}
	switch s := state.State.text(); s {
	case "SERVER_ACTIVE", "RPC_ACTIVE":
		r.add("reach the node", Good, "")
	case "LOCKED":
		r.add("reach the node", Missing, "the node is locked: lncli unlock")
		return r
	case "NON_EXISTING":
		r.add("reach the node", Missing, "the node has no wallet yet: lncli create")
		return r
	default:
		r.add("reach the node", Missing, fmt.Sprintf("the node is not ready: %.40s", s))
		return r
	}
	var page lndPage
	if !r.try("read invoices", "invoices:read, as invoice.macaroon has", l.call.get(ctx, "/v1/invoices?num_max_invoices=1&reversed=true", &page)) {
		return r
	}
	if l.broad {
		r.add("least privilege", Warning, "the macaroon allows more than invoices: use invoice.macaroon, or lncli bakemacaroon invoices:read invoices:write")
	}
	var info struct {
		Alias   loose `json:"alias"`
		Version loose `json:"version"`
		Synced  loose `json:"synced_to_chain"`
		Chains  []struct {
			Network loose `json:"network"`
		} `json:"chains"`
	}
	a := ask{method: http.MethodGet, path: "/v1/getinfo"}
	if body, err := l.call.send(ctx, a); err != nil || l.call.finish(body, nil, &info) != nil {
		return r // invoice.macaroon does not allow it, which is as it should be
	}
	r.fact("alias", info.Alias.text())
	r.fact("version", info.Version.text())
	if len(info.Chains) > 0 {
		r.network(info.Chains[0].Network.text(), l.network)
	}
	if info.Synced.isFalse() {
		r.add("synced", Warning, "the node is still reading the chain; payments may fail until it is done")
	}
	return r
}

// Probe asks for the node's name, its invoices and the payments it waits for.
func (c *CLN) Probe(ctx context.Context) Report {
	var r Report
	var info struct {
		Alias   loose `json:"alias"`
		Version loose `json:"version"`
		Network loose `json:"network"`
	}
	if !r.try("reach the node", "the method getinfo", c.read(ctx, "getinfo", map[string]any{}, &info)) {
		return r
	}
	r.fact("alias", info.Alias.text())
	r.fact("version", info.Version.text())
	r.network(info.Network.text(), c.network)
	var list clnInvoices
	r.try("read invoices", "the method listinvoices", c.read(ctx, "listinvoices", map[string]string{"label": labelled(ProbeRef + "none")}, &list))
	_, err := c.await(ctx, 1<<62, time.Second, nil)
	if errors.Is(err, errQuiet) {
		err = nil
	}
	r.try("be told of payments", "the method waitanyinvoice", err)
	if a, err := method("listfunds", map[string]any{}); err == nil {
		if _, err := c.call.send(ctx, a); err == nil {
			r.add("least privilege", Warning, "the rune allows more than invoices: restrict it to invoice, listinvoices, waitanyinvoice and getinfo")
		}
	}
	return r
}

// Probe asks for the node's channels and balance.
func (p *Phoenixd) Probe(ctx context.Context) Report {
	var r Report
	var info struct {
		Chain    loose `json:"chain"`
		Version  loose `json:"version"`
		Channels []struct {
			Inbound loose `json:"inboundLiquiditySat"`
		} `json:"channels"`
	}
	const need = "http-password-limited-access of phoenix.conf"
	if !r.try("reach phoenixd", need, p.call.get(ctx, "/getinfo", &info)) {
		return r
	}
	r.fact("version", info.Version.text())
	r.network(info.Chain.text(), p.network)
	var rows []phoenixdPayment
	r.try("read payments", need, p.call.get(ctx, "/payments/incoming?limit=1", &rows))
	var balance struct {
		Sats   loose `json:"balanceSat"`
		Credit loose `json:"feeCreditSat"`
	}
	if p.call.get(ctx, "/getbalance", &balance) == nil {
		if n, ok := balance.Sats.integer(); ok {
			r.fact("balance", fmt.Sprintf("%d sats", n))
		}
		if n, ok := balance.Credit.integer(); ok && n > 0 {
			r.fact("fee credit", fmt.Sprintf("%d sats, to be spent on liquidity only", n))
		}
	}
	if len(info.Channels) == 0 {
		r.add("channel", Warning, "there is none yet: small payments become fee credit, which cannot be withdrawn, and the first channel costs an on-chain fee")
	}
	return r
}
