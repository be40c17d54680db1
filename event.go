package timmy

// Event is one thing that happened to a request, for those who follow it live.
// It is lossy: the durable answer is the row.
type Event struct {
	Type    EventType
	Request RequestID
	Thread  string
	State   State  // of EventState
	Delta   string // of EventDelta: the next piece of the answer
	Sats    int64  // of EventCost: what was charged
	Phase   string // of EventCost: "session" for HTTP sessions, as documented; else the front
	Final   bool   // of EventCost
}

// EventType is the kind of an [Event], as it is named on the wire.
type EventType string

// The event types.
const (
	EventState EventType = "state"
	EventDelta EventType = "delta"
	EventCost  EventType = "cost:update"
)
