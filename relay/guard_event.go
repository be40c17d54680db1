package relay

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/coder/websocket"
	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy/nip"
)

// parseEvent reads the event of an EVENT or AUTH message. If it is none, it has
// been answered and ev is nil.
func (g *guest) parseEvent(label string, items []json.RawMessage) (ev *nostr.Event, err error) {
	if len(items) != 2 || len(items[1]) == 0 || items[1][0] != '{' {
		return nil, g.notice("invalid: " + label + " needs an event")
	}
	ev, err = nip.ParseEvent(items[1])
	if err == nil {
		return ev, nil
	}
	var bad *nip.Malformed
	switch {
	case !errors.As(err, &bad):
		return nil, g.notice("invalid: not an event")
	case bad.ID == "":
		return nil, g.notice(bad.Reason)
	}
	return nil, g.send("OK", bad.ID, false, bad.Reason)
}

// event answers ["EVENT", event] with OK, when what it asks for is durable.
func (g *guest) event(items []json.RawMessage) error {
	ev, err := g.parseEvent("EVENT", items)
	if ev == nil {
		return err
	}
	g.r.working.RLock()
	defer g.r.working.RUnlock()
	if g.r.draining.Load() {
		if err := g.send("OK", ev.ID, false, errShutdown.Error()); err != nil {
			return err
		}
		return g.close(websocket.StatusGoingAway, "shutting down")
	}
	err = g.take(ev)
	switch {
	case err == nil:
		g.r.count.stored.Add(1)
		return g.send("OK", ev.ID, true, "")
	case errors.Is(err, errNewer):
		return g.send("OK", ev.ID, true, "duplicate: have a newer one")
	case isDuplicate(err):
		return g.send("OK", ev.ID, true, "duplicate: already have this event")
	}
	g.r.count.refused.Add(1)
	if strings.HasPrefix(err.Error(), "auth-required:") {
		if err := g.send("AUTH", g.challenge); err != nil {
			return err
		}
	}
	return g.refuseEvent(ev.ID, err)
}

// refuseEvent tells a guest why. A bad signature is counted before the answer:
// who hangs up as soon as it comes is counted too.
func (g *guest) refuseEvent(id string, why error) error {
	out := errors.Is(why, nip.ErrSignature) && g.r.doors.strike(g.from)
	if err := g.send("OK", id, false, why.Error()); err != nil || !out {
		return err
	}
	return g.refuse(websocket.StatusPolicyViolation, "rate-limited: too many invalid signatures")
}

// take is the way of an event from the socket to the disk. What is cheap to
// check comes first; the inbox comes before the store, so that an event whose
// sender was not told OK is never held back as a duplicate.
func (g *guest) take(ev *nostr.Event) error {
	if !ev.CheckID() {
		return nip.ErrID
	}
	if err := g.r.policy(ev); err != nil {
		return err
	}
	if err := protected(ev, g.authed()); err != nil {
		return err
	}
	tower := g.r.forTower(ev)
	if err := g.mayTry(ev, tower); err != nil {
		return err
	}
	if err := g.r.rates.address(g.addr); err != nil {
		return err
	}
	if tower && !nostr.IsEphemeralKind(ev.Kind) {
		// For others the store finds out, when it writes.
		if err := g.r.store.known(g.ctx, ev); err != nil {
			return g.storeError(err)
		}
	}
	if err := g.verify(ev); err != nil {
		return err
	}
	if err := g.r.rates.key(g.behind(ev)...); err != nil {
		return err
	}
	if err := g.mayWrite(g.ctx, ev, tower); err != nil {
		return err
	}
	if tower {
		if err := g.r.deliver(g.ctx, ev); err != nil {
			return err
		}
	}
	return g.r.add(g.ctx, ev)
}

// behind is who answers for an event: its author, or of a gift wrap, whose author
// is nobody, the keys of this connection.
func (g *guest) behind(ev *nostr.Event) []string {
	if isWrap(ev.Kind) {
		return g.authed()
	}
	return []string{ev.PubKey}
}

func (g *guest) storeError(err error) error {
	if isDuplicate(err) || errors.Is(err, errDeleted) {
		return err
	}
	if g.ctx.Err() == nil {
		g.r.log.Error("events could not be read", "err", err)
	}
	return errStore
}

// verify checks the signature while holding one of the processor's tokens: a
// flood of signatures leaves the others their turn.
func (g *guest) verify(ev *nostr.Event) error {
	select {
	case g.r.crypto <- struct{}{}:
	case <-g.ctx.Done():
		return errEnded
	}
	defer func() { <-g.r.crypto }()
	return nip.Verify(ev)
}

// auth answers ["AUTH", event] (NIP-42). All keys of a connection count. The
// relay's URL is the configured one, never what a header says.
func (g *guest) auth(items []json.RawMessage) error {
	ev, err := g.parseEvent("AUTH", items)
	if ev == nil {
		return err
	}
	if err := g.verifyAuth(ev); err != nil {
		return g.refuseEvent(ev.ID, err)
	}
	keys := g.authed()
	if !slices.Contains(keys, ev.PubKey) {
		if len(keys) >= maxKeys {
			return g.send("OK", ev.ID, false, "rate-limited: too many keys on one connection")
		}
		more := append(slices.Clone(keys), ev.PubKey)
		g.keys.Store(&more)
	}
	return g.send("OK", ev.ID, true, "")
}

func (g *guest) verifyAuth(ev *nostr.Event) error {
	select {
	case g.r.crypto <- struct{}{}:
	case <-g.ctx.Done():
		return errEnded
	}
	defer func() { <-g.r.crypto }()
	return nip.CheckAuth(ev, g.r.cfg.URL, g.challenge, g.r.cfg.Now())
}
