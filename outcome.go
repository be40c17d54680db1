package timmy

import "time"

// Cost is what a request really cost. Charged + Absorbed + Waived == Total, and
// Charged + Absorbed never exceed the hold. All are whole sats but Dust.
type Cost struct {
	Eval     Msat // the evaluation's part of Total
	Work     Msat // the rest of Total
	Total    Msat // the full price, rounded up to a whole sat once
	Absorbed Msat // paid by the free pool
	Charged  Msat // paid by the asker
	Waived   Msat // the house's loss: over the hold, or its own failure
	Dust     Msat // how much of Charged+Absorbed came from rounding up
}

// Outcome is what happened to a request.
type Outcome struct {
	State  State
	Text   string // the answer
	Reason string // why it was rejected or failed, in words for the asker
	Abuse  bool   // counts against the asker's standing
	Eval   Usage
	Work   Usage
	Cost   Cost
	Rate   Rate // the bitcoin price it was priced at
}

// Reply is what the asker is told.
type Reply struct {
	Request RequestID
	Front   Front
	Command bool
	Thread  string
	Payer   Account
	Outcome Outcome
	Balance Msat     // what the payer may draw, posted, after this request
	Invoice *Invoice // parked: pay this and it runs
	First   bool     // the first request of this key: say hello
	Tries   int
	At      time.Time // when it reached this state
}
