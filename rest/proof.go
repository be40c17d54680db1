package rest

import (
	"context"
	"net/http"

	"github.com/timmy-tower/timmy"
)

// Papers are what a session's holder can show to others, as JSON. NotFound and
// Conflict: there is none, with the reason.
type Papers interface {
	// Receipt is the signed event of a request that was charged.
	Receipt(ctx context.Context, id timmy.RequestID) ([]byte, error)
	// Proof shows that an account's balance is in the tower's latest daily root.
	Proof(ctx context.Context, a timmy.Account) ([]byte, error)
}

// receipt is GET /sessions/:id/requests/:requestId/receipt.
func (a *API) receipt(c *call) answer {
	const fixed = "Failed to make a receipt"
	s, bad := a.session(c, c.PathValue("id"), fixed)
	if bad != nil {
		return *bad
	}
	if !a.authorized(c, s) {
		return refuse(http.StatusUnauthorized, msgBearer)
	}
	id := timmy.RequestID(c.PathValue("request"))
	if !isUUID(string(id)) {
		return refuse(http.StatusNotFound, msgNoRequest)
	}
	r, _, err := a.cfg.Sessions.Reply(c.Context(), id)
	switch {
	case unknown(err), err == nil && r.Payer != timmy.SessionAccount(s.ID):
		return refuse(http.StatusNotFound, msgNoRequest)
	case err != nil:
		return failed(c, err, fixed)
	}
	b, err := a.cfg.Papers.Receipt(c.Context(), id)
	if err != nil {
		return failed(c, err, fixed)
	}
	return answer{status: http.StatusOK, body: b}
}

// proof is GET /sessions/:id/proof.
func (a *API) proof(c *call) answer {
	const fixed = "Failed to make a proof"
	s, bad := a.session(c, c.PathValue("id"), fixed)
	if bad != nil {
		return *bad
	}
	if !a.authorized(c, s) {
		return refuse(http.StatusUnauthorized, msgBearer)
	}
	b, err := a.cfg.Papers.Proof(c.Context(), timmy.SessionAccount(s.ID))
	if err != nil {
		return failed(c, err, fixed)
	}
	return answer{status: http.StatusOK, body: b}
}
