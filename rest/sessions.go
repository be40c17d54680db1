package rest

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"

	"github.com/timmy-tower/timmy"
)

// invoiceView is the documented shape of an invoice.
type invoiceView struct {
	PaymentRequest string `json:"paymentRequest"`
	AmountSats     int64  `json:"amountSats"`
	PaymentHash    string `json:"paymentHash"`
}

func viewInvoice(i timmy.Invoice) *invoiceView {
	return &invoiceView{PaymentRequest: i.Bolt11, AmountSats: i.Amount.Sats(), PaymentHash: i.Hash.String()}
}

// createdView is the documented 201 of POST /sessions.
type createdView struct {
	SessionID string       `json:"sessionId"`
	State     string       `json:"state"`
	PubKey    string       `json:"nostrPubkey,omitempty"`
	Tier      string       `json:"trust_tier"`
	Invoice   *invoiceView `json:"invoice,omitempty"`
}

// sessionView is the documented 200 of GET /sessions/:id.
type sessionView struct {
	SessionID  string       `json:"sessionId"`
	State      string       `json:"state"`
	Balance    int64        `json:"balanceSats"`
	Expires    *string      `json:"expiresAt"`
	MinBalance int64        `json:"minimumBalanceSats"`
	PubKey     string       `json:"nostrPubkey,omitempty"`
	Tier       string       `json:"trust_tier"`
	Macaroon   string       `json:"macaroon,omitempty"`
	Invoice    *invoiceView `json:"invoice,omitempty"`
	TopUp      *invoiceView `json:"pendingTopup,omitempty"`
}

// deposit reads amount_sats within the bounds, or gives the documented 400.
func (a *API) deposit(c *call) (object, []byte, timmy.Msat, *answer) {
	o, raw, bad := c.object(a.amountText())
	if bad != nil {
		return nil, nil, 0, bad
	}
	sats, bad := a.depositAmount(o)
	return o, raw, sats, bad
}

func (a *API) amountText() string {
	return fmt.Sprintf("amount_sats must be an integer between %d and %d", a.cfg.MinDeposit.Sats(), a.cfg.MaxDeposit.Sats())
}

func (a *API) depositAmount(o object) (timmy.Msat, *answer) {
	n, ok := amount(o["amount_sats"])
	if !ok || n < a.cfg.MinDeposit.Sats() || n > a.cfg.MaxDeposit.Sats() {
		return 0, no(http.StatusBadRequest, a.amountText())
	}
	return timmy.FromSats(n), nil
}

// create is POST /sessions.
func (a *API) create(c *call) answer {
	o, raw, sats, bad := a.deposit(c)
	if bad != nil {
		return *bad
	}
	owner, ok := a.owner(c.Header, o)
	if !ok {
		return refuse(http.StatusUnauthorized, msgToken)
	}
	from, bad := a.from(c, o)
	if bad != nil {
		return *bad
	}
	refundTo, bad := a.refundAddress(o)
	if bad != nil {
		return *bad
	}
	credential := ""
	if from != nil {
		credential = a.secret(*from)
	}
	if !owner.IsZero() {
		credential = owner.String() + credential
	}
	return a.once(c, task{
		route: "POST /sessions", credential: credential, body: raw,
		do: func(ctx context.Context, subject string, _ bool) answer {
			return a.open(ctx, c, opening{id: subject, owner: owner, from: from, amount: sats, refundTo: refundTo})
		},
	})
}

// opening is a session about to be made.
type opening struct {
	id     string
	owner  timmy.PubKey
	from   *timmy.Session // whose remainder moves in; nil: none
	amount timmy.Msat

	refundTo string // the lightning address of its remainder; "": none
}

// from is the expired anonymous session whose remainder moves into the new one,
// claimed with its bearer. Nil: the body names none.
func (a *API) from(c *call, o object) (*timmy.Session, *answer) {
	raw, ok := o["from_session"]
	if !ok || string(raw) == "null" {
		return nil, nil
	}
	id, _ := o.str("from_session")
	s, bad := a.session(c, id, "Failed to create session")
	if bad != nil {
		return nil, bad
	}
	switch {
	case !a.authorized(c, s):
		return nil, no(http.StatusUnauthorized, msgBearer)
	case !a.expired(s):
		return nil, no(http.StatusConflict, inState(s))
	case !s.Owner.IsZero():
		return nil, no(http.StatusConflict, "The session's balance is in its owner's account already")
	}
	return &s, nil
}

func (a *API) open(ctx context.Context, c *call, o opening) answer {
	const fixed = "Failed to create session"
	tier := timmy.TierAnonymous
	var err error
	if !o.owner.IsZero() {
		if tier, err = a.cfg.Trust.Tier(ctx, o.owner); err != nil {
			return failed(c, err, fixed)
		}
	}
	from := ""
	if o.from != nil {
		from = o.from.ID
		if o.id, err = a.heir(ctx, *o.from, o.id); err != nil {
			return failed(c, err, fixed)
		}
	}
	s, err := a.cfg.Sessions.Open(ctx, o.id, o.owner, from)
	if err == nil && o.refundTo != "" {
		err = a.cfg.Refunds.Remember(ctx, s.ID, o.refundTo)
	}
	if err != nil {
		return failed(c, err, fixed)
	}
	v := createdView{SessionID: s.ID, State: string(s.State), Tier: string(tier)}
	if !o.owner.IsZero() {
		v.PubKey = o.owner.String()
	}
	if s.State != timmy.SessionAwaiting { // an earlier try got this far, and its invoice was paid
		return reply(http.StatusCreated, v)
	}
	inv, err := a.depositInvoice(ctx, s, o.amount)
	if err != nil {
		return failed(c, err, fixed)
	}
	v.Invoice = viewInvoice(inv)
	out := reply(http.StatusCreated, v)
	out.link = a.link(inv.Hash)
	return out
}

// heir is the id of the session that a remainder moves into. It follows from the
// old one, so that a call that failed after the move, the wallet being away,
// finds the money again on the next try, with or without an Idempotency-Key.
func (a *API) heir(ctx context.Context, old timmy.Session, fresh string) (string, error) {
	id := formatUUID(a.mac("heir", old.ID, strconv.FormatInt(old.Bearer, 10)), 4)
	s, err := a.cfg.Sessions.Session(ctx, id)
	switch {
	case unknown(err), err == nil && s.State == timmy.SessionAwaiting:
		return id, nil
	case err != nil:
		return "", err
	}
	return fresh, nil
}

// depositInvoice asks for the deposit's invoice; one that is open already is
// the answer of an earlier try.
func (a *API) depositInvoice(ctx context.Context, s timmy.Session, sats timmy.Msat) (timmy.Invoice, error) {
	if s.Deposit != nil && s.Deposit.Amount == sats {
		return *s.Deposit, nil
	}
	memo, err := a.memo("Session deposit ")
	if err != nil {
		return timmy.Invoice{}, err
	}
	inv, err := a.cfg.Till.Invoice(ctx, timmy.TopUp{
		Account: timmy.SessionAccount(s.ID), Purpose: timmy.ForDeposit, Amount: sats, Memo: memo,
	})
	if timmy.CodeOf(err) == timmy.Conflict && inv.Bolt11 != "" {
		return inv, nil
	}
	return inv, err
}

// memo is what the payer's wallet shows. The session's id is a secret, and the
// invoice is shown around: the reference is another number.
func (a *API) memo(prefix string) (string, error) {
	b, err := a.bytes(4)
	return prefix + hex.EncodeToString(b), err
}

// session reads a session; whatever is no id of ours is 404.
func (a *API) session(c *call, id, fixed string) (timmy.Session, *answer) {
	if !isUUID(id) {
		return timmy.Session{}, no(http.StatusNotFound, msgNoSession)
	}
	s, err := a.cfg.Sessions.Session(c.Context(), id)
	if unknown(err) {
		return s, no(http.StatusNotFound, msgNoSession)
	}
	if err != nil {
		bad := failed(c, err, fixed)
		return s, &bad
	}
	return s, nil
}

// authorized checks the credential, which must allow all that the session's own
// bearer does, and notes that it has been used.
func (a *API) authorized(c *call, s timmy.Session) bool {
	g, ok := a.granting(c, s)
	return ok && g.allows(mayAccount)
}

// granting is what the caller's credential allows on s. A preimage proves nothing
// by itself, for some wallets show it before they are paid: our own book must know
// the payment.
func (a *API) granting(c *call, s timmy.Session) (grant, bool) {
	t, g, ok := a.presents(c.Request, s)
	if !ok {
		return grant{}, false
	}
	if t.use == useL402 {
		if status, err := a.payment(c.Context(), t.hash); err != nil || !status.Settled {
			return grant{}, false
		}
	}
	a.used(c, s)
	return g, true
}

// used notes that a session's credential has been used.
func (a *API) used(c *call, s timmy.Session) {
	if s.Used {
		return
	}
	if err := a.cfg.Sessions.Presented(c.Context(), s.ID); err != nil {
		c.log.Warn("http: noting that a bearer was used", "err", err)
	}
}

// expired also looks at the clock: the row may be a moment behind.
func (a *API) expired(s timmy.Session) bool {
	return s.State == timmy.SessionExpired || (!s.Expires.IsZero() && a.cfg.Now().After(s.Expires))
}

func inState(s timmy.Session) string { return fmt.Sprintf("Session is in state '%s'", s.State) }

// show is GET /sessions/:id. It only reads: payments are noticed by the till's
// watchers, expiry by the book.
func (a *API) show(c *call) answer {
	const fixed = "Failed to fetch session"
	s, bad := a.session(c, c.PathValue("id"), fixed)
	if bad != nil {
		return *bad
	}
	tier := timmy.TierAnonymous
	if !s.Owner.IsZero() {
		var err error
		if tier, err = a.cfg.Trust.Tier(c.Context(), s.Owner); err != nil {
			return failed(c, err, fixed)
		}
	}
	v := sessionView{
		SessionID: s.ID, State: string(s.State), Balance: s.Balance.Sats(),
		MinBalance: a.cfg.MinBalance.Sats(), Tier: string(tier), Macaroon: a.shown(c, s),
	}
	if !s.Owner.IsZero() {
		v.PubKey = s.Owner.String()
	}
	if !s.Expires.IsZero() {
		t := stamp(s.Expires)
		v.Expires = &t
	}
	link := ""
	switch {
	case s.State == timmy.SessionAwaiting && s.Deposit != nil:
		v.Invoice, link = viewInvoice(*s.Deposit), a.link(s.Deposit.Hash)
	case s.State != timmy.SessionAwaiting && s.TopUp != nil:
		v.TopUp, link = viewInvoice(*s.TopUp), a.link(s.TopUp.Hash)
	}
	out := reply(http.StatusOK, v)
	out.link = link
	return out
}

// shown is the bearer, if this caller may see it.
func (a *API) shown(c *call, s timmy.Session) string {
	live := s.State == timmy.SessionActive || s.State == timmy.SessionPaused
	if !live || s.Bearer == 0 {
		return ""
	}
	mine := a.authorized(c, s)
	if !mine && !s.Owner.IsZero() {
		k, ok := a.owner(c.Header, nil)
		mine = ok && k == s.Owner
	}
	if mine || a.cfg.ShowMacaroon == ShowAlways || a.cfg.ShowMacaroon == ShowUntilUsed && !s.Used {
		return a.bearer(s)
	}
	return ""
}

// forget is DELETE /sessions/:id/history.
func (a *API) forget(c *call) answer {
	const fixed = "Failed to clear history"
	s, bad := a.session(c, c.PathValue("id"), fixed)
	switch {
	case bad != nil:
		return *bad
	case !a.authorized(c, s):
		return refuse(http.StatusUnauthorized, msgBearer)
	case a.expired(s):
		return refuse(http.StatusGone, msgExpired)
	}
	if _, err := a.cfg.Sessions.Forget(c.Context(), thread(s.ID), timmy.PubKey{}); err != nil {
		return failed(c, err, fixed)
	}
	return reply(http.StatusOK, map[string]bool{"cleared": true})
}

// thread is a session's conversation.
func thread(id string) string { return "session:" + id }
