package relay

import (
	"context"
	"time"

	"github.com/timmy-tower/timmy"
)

// Desk takes requests in. When Submit returns nil the request is durable and
// will be answered once, however often it is submitted.
type Desk interface {
	Submit(ctx context.Context, r timmy.Request) error
}

// Standing decides about writes of keys that no rule lets in: who has paid, or is
// trusted for what it did. It is asked on every write of such a key, so it answers
// from memory where it can. A refusal is a [timmy.Error] that tells what to do.
type Standing interface {
	MayWrite(ctx context.Context, k timmy.PubKey, kind int) error
}

// Trust knows whom the operators trust, directly or not. It answers from memory.
type Trust interface {
	Trusts(key string) bool
}

// Outbox is the durable queue of parcels that the courier empties.
type Outbox interface {
	// Due lists undelivered parcels whose time has come, oldest first.
	Due(ctx context.Context, now time.Time, limit int) ([]timmy.Parcel, error)
	// Sealed stores the signed events before the first publish.
	Sealed(ctx context.Context, id int64, events [][]byte) error
	// Delivered ends a parcel.
	Delivered(ctx context.Context, id int64) error
	// Retry puts it off.
	Retry(ctx context.Context, id int64, at time.Time, why string) error
	// Abandon ends a parcel that cannot be delivered; why is kept.
	Abandon(ctx context.Context, id int64, why string) error
}
