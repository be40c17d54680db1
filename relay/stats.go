package relay

import "sync/atomic"

// Stats is what a relay did since it was made. None of it names anybody.
type Stats struct {
	Connections   int   // open now
	Accepted      int64 // connections
	Turned        int64 // connections refused, for there were too many
	Frames        int64 // read
	Sent          int64 // messages written
	Stored        int64 // events answered OK true, ephemeral ones too, duplicates not
	Refused       int64 // events answered OK false
	Limited       int64 // frames over the rate
	Stalled       int64 // connections closed because their reader was too slow
	Expired       int64 // events swept out
	Panics        int64 // frames that met a fault of ours
	Subscriptions int64 // live now
	IndexEntries  int   // of live subscriptions
}

type counters struct {
	accepted, turned, frames, sent, stored, refused, limited, stalled, expired, panics, subs, serial atomic.Int64
}

// Stats reads the counters.
func (r *Relay) Stats() Stats {
	r.mu.Lock()
	open := len(r.guests)
	r.mu.Unlock()
	c := &r.count
	return Stats{
		Connections: open, Accepted: c.accepted.Load(), Turned: c.turned.Load(),
		Frames: c.frames.Load(), Sent: c.sent.Load(), Stored: c.stored.Load(), Refused: c.refused.Load(),
		Limited: c.limited.Load(), Stalled: c.stalled.Load(), Expired: c.expired.Load(),
		Panics: c.panics.Load(), Subscriptions: c.subs.Load(), IndexEntries: r.live.size(),
	}
}
