package rest

import (
	"context"
	"testing"

	"github.com/timmy-tower/timmy"
)

type paperRack struct{}

func (paperRack) Receipt(_ context.Context, id timmy.RequestID) ([]byte, error) {
	return []byte(`{"id":"` + id + `"}`), nil
}

func (paperRack) Proof(context.Context, timmy.Account) ([]byte, error) {
	return nil, timmy.Errorf(timmy.NotFound, "no balance then")
}

// Excludes a receipt or a proof for a caller without the session's bearer, and the
// receipt of another session's request.
func TestPapersNeedTheBearer(t *testing.T) {
	d := open(t, func(c *Config, _ *world) { c.Papers = paperRack{} })
	id, auth := d.funded("500")
	req := d.want(d.call("POST", "/sessions/"+id+"/request", `{"request":"hi"}`, auth), 200, "").str("requestId")
	path := "/sessions/" + id + "/requests/" + req + "/receipt"
	d.want(d.call("GET", path, ""), 401, msgBearer)
	if got := d.want(d.call("GET", path, "", auth), 200, "").str("id"); got != req {
		t.Errorf("receipt of %q", got)
	}
	other, otherAuth := d.funded("500")
	d.want(d.call("GET", "/sessions/"+other+"/requests/"+req+"/receipt", "", otherAuth), 404, msgNoRequest)
	d.want(d.call("GET", "/sessions/"+id+"/proof", ""), 401, msgBearer)
	d.want(d.call("GET", "/sessions/"+id+"/proof", "", auth), 404, "no balance then")
}
