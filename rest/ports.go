package rest

import (
	"context"
	"time"

	"github.com/timmy-tower/timmy"
)

// Desk runs requests.
type Desk interface {
	// Do accepts, starts and runs a request and waits for its reply. The work
	// goes on, is charged once and can be fetched when ctx ends first. Unpaid,
	// Expired and Conflict are refusals; nothing ran then. Unavailable: the desk
	// is full or stopping.
	Do(ctx context.Context, r timmy.Request) (timmy.Reply, error)
	// Wait waits until the request has its outcome.
	Wait(ctx context.Context, id timmy.RequestID) (timmy.Reply, error)
}

// Till makes invoices. A Conflict error means that an invoice is open already,
// which is returned with it when it is known.
type Till interface {
	Invoice(ctx context.Context, t timmy.TopUp) (timmy.Invoice, error)
	// Check asks the wallet for one invoice now, and credits it if it was paid.
	Check(ctx context.Context, h timmy.Hash)
}

// Sessions is the durable record of sessions. Each method is one transaction,
// expires what is due first, and answers NotFound for an unknown id.
type Sessions interface {
	// Open makes the row, awaiting its deposit. Known id: nothing happens. From,
	// if set, is an anonymous session whose free remainder moves into the new one.
	Open(ctx context.Context, id string, owner timmy.PubKey, from string) (timmy.Session, error)
	Session(ctx context.Context, id string) (timmy.Session, error)
	// Presented notes that the bearer has been used.
	Presented(ctx context.Context, id string) error
	// Forget deletes the turns of a thread (a session's is "session:<id>").
	Forget(ctx context.Context, thread string, of timmy.PubKey) (int, error)
	// Join ends the anonymous session from, whose money, now and later, goes into the
	// live session id; again is nothing. Conflict: it went elsewhere, or cannot go there.
	Join(ctx context.Context, id, from string) error
	// End ends a session before its time. One that has ended is left as it is.
	End(ctx context.Context, id string) error
	// Reply reads what became of a request.
	Reply(ctx context.Context, id timmy.RequestID) (r timmy.Reply, done bool, err error)
}

// Refunds give back what is unspent.
type Refunds interface {
	// Order reserves a refund; it is paid whether or not the caller waits. A known id
	// gives what became of it. Invalid: where it should go. Unpaid: there is not
	// enough. Conflict: one is under way. Limited, Unavailable: not now.
	Order(ctx context.Context, o timmy.RefundOrder) (timmy.Refund, error)
	// Await gives a refund as it is when it ends, or after some seconds.
	Await(ctx context.Context, r timmy.Refund) timmy.Refund
	// Of reads a refund.
	Of(ctx context.Context, id string) (timmy.Refund, error)
	// Remember where the remainder of an anonymous session goes at its end: a lightning
	// address, or an invoice without an amount. Invalid: it is neither.
	Remember(ctx context.Context, session, to string) error
}

// IdemState says what an Idempotency-Key stands for.
type IdemState string

// The states of an Idempotency-Key.
const (
	IdemFresh    IdemState = "fresh"    // ours to run, under Subject
	IdemInFlight IdemState = "inflight" // somebody is running it: 409
	IdemDone     IdemState = "done"     // Status and Body are the answer
	IdemMismatch IdemState = "mismatch" // same key, other body: 422
)

// Idem is the row of an Idempotency-Key. Subject is the id made for what the
// call creates, the same on every try, so that a call that was cut off by a
// crash can be run again without doing anything twice.
type Idem struct {
	State   IdemState
	Subject string
	Status  int
	Body    []byte
}

// IdemKeys is the durable record of Idempotency-Keys, kept seven days. key is
// made of route, credential and hash of the header.
type IdemKeys interface {
	Reserve(ctx context.Context, key string, body [32]byte, subject string) (Idem, error)
	Keep(ctx context.Context, key string, status int, reply []byte) error
	// Drop forgets a key whose call was refused before it did anything.
	Drop(ctx context.Context, key string) error
}

// Identity checks who an HTTP caller is by NIP-98.
type Identity interface {
	// Verify checks an Authorization header ("Nostr <base64>") against the
	// absolute url with its query, the method and the body, and that it was not
	// used before. Any failure is Unauthorized.
	Verify(ctx context.Context, header, method, url string, body []byte) (timmy.PubKey, error)
}

// Trust tells what a key's standing comes to now, decay included, and notes a
// key that is seen for the first time.
type Trust interface {
	Tier(ctx context.Context, k timmy.PubKey) (timmy.Tier, error)
}

// Bus lets callers follow what happens. The channel is bounded; an event for
// which there is no room is dropped. It closes when ctx ends. An empty thread
// follows all.
type Bus interface {
	Follow(ctx context.Context, thread string) <-chan timmy.Event
}

// Clock is the time source.
type Clock func() time.Time
