package rest

import (
	"context"
	"net/http"
)

type healthView struct {
	Status string            `json:"status"`
	Checks map[string]string `json:"checks,omitempty"`
}

// health is GET /healthz: the process answers.
func (a *API) health(*call) answer { return reply(http.StatusOK, healthView{Status: "ok"}) }

// readyInside is GET /readyz on the loopback listener: what is wrong, in words.
func (a *API) readyInside(c *call) answer { return a.ready(c, func(s string) string { return s }) }

// readyOutside is GET /readyz for the world: details name hosts and paths.
func (a *API) readyOutside(c *call) answer {
	return a.ready(c, func(string) string { return "failing" })
}

func (a *API) ready(c *call, tell func(string) string) answer {
	ctx, cancel := context.WithTimeout(c.Context(), pageWait)
	defer cancel()
	checks := map[string]string{"money": "ok", "running": "ok"}
	if !a.cfg.MoneyOK() {
		checks["money"] = "the books do not add up"
	}
	if a.draining.Load() {
		checks["running"] = "shutting down"
	}
	for name, s := range a.cfg.Ready(ctx) {
		checks[name] = s
	}
	v, status := healthView{Status: "ready", Checks: checks}, http.StatusOK
	for name, s := range checks {
		if s == "" || s == "ok" {
			checks[name] = "ok"
			continue
		}
		checks[name] = tell(s)
		v.Status, status = "unready", http.StatusServiceUnavailable
	}
	return reply(status, v)
}
