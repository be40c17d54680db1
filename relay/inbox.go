package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/failpoint"
	"github.com/timmy-tower/timmy/nip"
)

// What the inbox asks the desk to answer on behalf of somebody whose message
// cannot be a question. The desk knows these three words and has a fixed text
// for each.
const (
	commandEmpty   = "/!empty"
	commandTooLong = "/!too-long"
	commandFiles   = "/!files"
)

// dropRate is the reason that only the inbox can have: too many messages of one
// key in a minute. The others are nip's.
const dropRate nip.Drop = "rate"

// errPeerRate is how a relay client learns of it: a message that gets no answer
// must not have an OK.
var errPeerRate = timmy.Errorf(timmy.Limited, "too many messages in a minute, send it again in the next")

// errFromFuture is how the sender learns that a clock is wrong, theirs or ours. Such a
// message is not kept: it may come again once the clocks agree.
var errFromFuture = timmy.Errorf(timmy.Invalid, "the message is dated in the future: check the clock, and send it again")

// InboxConfig is what an [Inbox] needs.
type InboxConfig struct {
	Key     nip.Key
	Desk    Desk
	Workers int              // messages opened at once; 0: one for each processor
	Now     func() time.Time // nil: time.Now
	Log     *slog.Logger     // nil: nothing is logged
}

// Inbox turns direct messages for the tower into requests. What is not a message
// to us is dropped in silence, with a count: an answer would tell a stranger what
// we could decrypt. Only a key that writes too fast is told so: it could have
// known, and may send the same message again.
type Inbox struct {
	cfg     InboxConfig
	workers chan struct{}
	peers   *peerRate

	mu       sync.Mutex
	accepted int64
	dropped  map[string]int64
}

// InboxStats counts messages by what became of them. The reasons are few and
// fixed: they are labels of a metric.
type InboxStats struct {
	Accepted int64
	Dropped  map[string]int64
}

// NewInbox makes an inbox.
func NewInbox(cfg InboxConfig) *Inbox {
	if cfg.Workers <= 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Inbox{
		cfg: cfg, workers: make(chan struct{}, cfg.Workers),
		peers: &peerRate{sent: make(map[timmy.PubKey][]string)}, dropped: make(map[string]int64),
	}
}

// Stats reads the counters.
func (i *Inbox) Stats() InboxStats {
	i.mu.Lock()
	defer i.mu.Unlock()
	return InboxStats{Accepted: i.accepted, Dropped: maps.Clone(i.dropped)}
}

// Accept reads a verified event that names the tower. When it returns nil the
// event needs nothing more: its request is durable, or there is none in it. An
// error means that nothing is durable and the sender must be told to try again.
func (i *Inbox) Accept(ctx context.Context, ev *nostr.Event) error {
	m, err := i.open(ctx, ev)
	if err != nil {
		if d, ok := errors.AsType[nip.Drop](err); ok {
			return i.drop(d)
		}
		return err
	}
	if reason := i.refuse(m, i.cfg.Now()); reason != "" {
		return i.drop(reason)
	}
	r, err := request(m)
	if err != nil {
		return err
	}
	if err := i.submit(ctx, r); err != nil {
		return fmt.Errorf("submitting a message: %w", err)
	}
	i.mu.Lock()
	i.accepted++
	i.mu.Unlock()
	return nil
}

func (i *Inbox) submit(ctx context.Context, r timmy.Request) error {
	if err := failpoint.Before(failpoint.InboxSubmit); err != nil {
		return err
	}
	if err := i.cfg.Desk.Submit(ctx, r); err != nil {
		return err
	}
	return failpoint.After(failpoint.InboxSubmit)
}

// open decrypts with a bounded number of workers: wraps cost a stranger nothing
// to make and us two ECDH to open.
func (i *Inbox) open(ctx context.Context, ev *nostr.Event) (m nip.Message, err error) {
	select {
	case i.workers <- struct{}{}:
		defer func() { <-i.workers }()
	case <-ctx.Done():
		return m, fmt.Errorf("waiting to open a message: %w", ctx.Err())
	}
	return nip.Open(i.cfg.Key, ev, i.cfg.Now())
}

// refuse gives the reason why a message that is well-formed gets no answer.
func (i *Inbox) refuse(m nip.Message, now time.Time) nip.Drop {
	switch {
	case m.From == i.cfg.Key.Public():
		return nip.DropSelf // the copy of an answer, or somebody's loop
	case m.At.Before(now.Add(-inboxMaxAge)):
		return nip.DropOld
	case m.At.After(now.Add(inboxMaxFuture)):
		return nip.DropFuture
	case !i.peers.allow(m.From, m.ID, now):
		return dropRate
	}
	return ""
}

// drop counts a message that gets no answer, and gives the error for those whose
// sender is told.
func (i *Inbox) drop(reason nip.Drop) error {
	i.mu.Lock()
	i.dropped[string(reason)]++
	i.mu.Unlock()
	switch reason {
	case dropRate:
		return errPeerRate
	case nip.DropFuture:
		return errFromFuture
	case nip.DropImpersonation:
		i.cfg.Log.Warn("a direct message claimed another sender")
	}
	return nil
}

// replyTo is what a request of this front remembers: how and to what to answer.
type replyTo struct {
	Scheme nip.Scheme `json:"scheme"`
	Parent string     `json:"parent"`
	At     int64      `json:"at"`
}

// request makes the request out of a message.
func request(m nip.Message) (timmy.Request, error) {
	back, err := json.Marshal(replyTo{Scheme: m.Scheme, Parent: m.ID, At: m.At.Unix()})
	if err != nil {
		return timmy.Request{}, fmt.Errorf("remembering how to answer: %w", err)
	}
	text, command := question(m)
	return timmy.Request{
		ID: timmy.RequestID(m.ID), Front: timmy.FrontDM,
		From: m.From, Payer: timmy.UserAccount(m.From), Thread: "dm:" + m.From.String(),
		Text: text, Command: command, Wait: true, ReplyTo: back, At: m.At,
	}, nil
}

// question finds what is asked, and whether the tower answers it by itself.
func question(m nip.Message) (text string, command bool) {
	trimmed := strings.TrimSpace(m.Text)
	switch {
	case m.Kind == nip.KindFile:
		return commandFiles, true
	case trimmed == "":
		return commandEmpty, true
	case len(m.Text) > inboxMaxText:
		return commandTooLong, true
	case strings.HasPrefix(trimmed, "/"), trimmed == "?", strings.EqualFold(trimmed, "help"):
		return trimmed, true
	}
	return m.Text, false
}

// peerRate counts messages by sender within the running minute. One that comes again,
// by way of another relay or because its sender was not told, counts once.
type peerRate struct {
	mu     sync.Mutex
	minute int64
	sent   map[timmy.PubKey][]string // ids
}

func (p *peerRate) allow(k timmy.PubKey, id string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m := now.Unix() / 60; m != p.minute {
		p.minute = m
		clear(p.sent)
	}
	ids, known := p.sent[k]
	if slices.Contains(ids, id) {
		return true
	}
	if len(ids) >= inboxPeerRate || (!known && len(p.sent) >= inboxPeers) {
		return false
	}
	p.sent[k] = append(ids, id)
	return true
}
