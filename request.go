package timmy

import "time"

// RequestID makes a request once-only: the rumor's id for a DM, the event's id
// for a job, a UUID made by the server for HTTP, which begins with the time.
type RequestID string

// UUIDLen is the length of an id that is a UUID.
const UUIDLen = 36

// Short is what people are shown, as in "#req 7f3a": the first four digits, or of a UUID
// the last, for its first are those of a month.
func (id RequestID) Short() string {
	if len(id) == UUIDLen {
		return string(id[UUIDLen-4:])
	}
	return string(id[:min(4, len(id))])
}

// Front is a door through which requests come.
type Front string

// The fronts.
const (
	FrontDM   Front = "dm"   // NIP-17 and NIP-04 direct messages
	FrontJob  Front = "job"  // NIP-90
	FrontREST Front = "rest" // the documented session API
)

// Request is one piece of work asked for. A front fills it; the desk runs it.
type Request struct {
	ID       RequestID
	Front    Front
	From     PubKey  // who asks; zero: nobody, or the key that the session Payer is bound to
	Payer    Account // a session that is bound to From may also draw on From's account
	Bearer   int64   // of the session Payer: the generation of the credential that was shown; 0: it was checked before
	Thread   string  // the conversation: history is kept, and forgotten, per thread
	Text     string
	Command  bool   // one of our commands ("/balance"): answered by the tower itself, never charged, never shown to a model
	PriceMax Msat   // the asker's own limit; 0: none
	Wait     bool   // true: park until paid; false: refused at once when unpaid
	ReplyTo  []byte // read by its own front alone: where and how to answer
	At       time.Time
}

// State is where a request stands.
type State string

// The states. The last four are final.
const (
	StateQueued   State = "queued"   // durable, will be answered once
	StateRunning  State = "running"  // under a lease
	StateParked   State = "parked"   // waits for its invoice to be paid
	StateComplete State = "complete" // answered
	StateRejected State = "rejected" // refused by the evaluation, which is charged
	StateFailed   State = "failed"   // the operator's failure, or stopped by the asker: costs nothing
	StateUnpaid   State = "unpaid"   // never paid for: costs nothing, will not run later
)

// Final reports whether the request has its outcome.
func (s State) Final() bool {
	return s == StateComplete || s == StateRejected || s == StateFailed || s == StateUnpaid
}

// Role says who spoke a turn.
type Role string

// The roles of a conversation.
const (
	RoleUser      Role = "user"
	RoleAssistant Role = "assistant"
)

// Turn is one message of a conversation, oldest first in a history.
type Turn struct {
	Role   Role
	Text   string
	Tokens int64 // estimated, see Tokens
}

// Tokens is the documented estimate of a text's length in model tokens: a
// quarter of its length, rounded up.
func Tokens(text string) int64 { return int64(len(text)+3) / 4 }

// Lease is the right to finish a request. Token is a fencing token: it grows
// with every claim, and a holder with an old one is refused.
type Lease struct {
	Request RequestID
	Token   int64
	Until   time.Time
}

// Job is a request that was claimed, with all that pricing needs: one read.
type Job struct {
	Request
	Lease    Lease
	History  []Turn    // the last turns of the thread, oldest first
	After    RequestID // whose answer is the last of them; empty: there was none
	Standing Standing  // of From; zero for nobody
	Posted   Msat      // what the payer's own account had
	PayerMax Msat      // what the payer has available, a bound session's draw on its owner included
	PoolMax  Msat      // what the free pool has available
	Hold     Quote     // what was reserved; set by Start
	Drawn    Msat      // of Hold.Payer, what a bound session's owner has reserved
	Tries    int       // how often it was claimed, this time included
	First    bool      // the first request of its key
}

// Quote is the most a request may cost, and who reserves it.
type Quote struct{ Payer, Pool Msat }

// Total is the whole reservation.
func (q Quote) Total() Msat { return q.Payer + q.Pool }

// Usage is what a model call consumed, in tokens.
type Usage struct {
	In        int64
	Out       int64
	Estimated bool // the provider did not say, or said nonsense: our own count
}

// Verdict is the evaluation's decision. The model decides accept or refuse and
// nothing else: never money, limits or recipients.
type Verdict struct {
	Accepted bool
	Abuse    bool   // refused because it is abuse, not because it cannot be done
	Reason   string // for the asker, when refused
	Usage    Usage
}

// Answer is what the work produced.
type Answer struct {
	Text  string
	Usage Usage
}
