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

// Standing decides paid and trusted writes. It is asked on every write and
// answers from memory.
type Standing interface {
	MayWrite(ctx context.Context, k timmy.PubKey, kind int) error
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
