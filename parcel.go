package timmy

import "time"

// Parcel is one thing to deliver: an outbox row, written in the transaction that
// moved the money. Exactly one of Reply, Paid, Zap and Alert is set.
type Parcel struct {
	ID      int64
	Front   Front
	To      PubKey
	ReplyTo []byte
	Reply   *Reply         // the answer to a request, or the invoice it waits for
	Paid    *Notice        // money arrived
	Zap     *InvoiceStatus // a NIP-57 receipt is due; Request holds the zap request
	Alert   string         // something the operator has to look at, in words
	Request []byte         // the zap request, byte for byte
	Signed  [][]byte       // the signed events, stored before the first publish so that a retry sends the same bytes
	Tries   int
	At      time.Time
}

// Notice tells a key that money arrived.
type Notice struct {
	Amount  Msat
	Balance Msat
	Working bool // a request of theirs that waited is running now
}
