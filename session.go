package timmy

import "time"

// SessionState is the documented state of an HTTP session.
type SessionState string

// The documented states.
const (
	SessionAwaiting SessionState = "awaiting_payment"
	SessionActive   SessionState = "active"
	SessionPaused   SessionState = "paused"
	SessionExpired  SessionState = "expired"
)

// Session is a prepaid HTTP session. Its id is a secret of 122 random bits.
type Session struct {
	ID        string
	State     SessionState
	Owner     PubKey // zero: anonymous
	Balance   Msat   // posted, a bound session's draw on its owner included
	Available Msat   // of that, not held
	Expires   time.Time
	Created   time.Time
	Bearer    int64    // generation of the bearer; 0: none was made yet
	Used      bool     // the bearer has been presented at least once
	Moved     bool     // its remainder went into another session, and what comes in goes there
	RefundTo  string   // where its remainder goes at its end; "": nowhere yet
	Paid      Hash     // the payment that opened it; zero while it waits for one
	Deposit   *Invoice // while the deposit is unpaid
	TopUp     *Invoice // while a top-up is unpaid and unexpired
}
