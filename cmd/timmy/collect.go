package main

import (
	"github.com/prometheus/client_golang/prometheus"
)

// collectors turns the counters of the parts into metrics. Labels are few and
// fixed: no keys, ids or addresses.
func (p *parts) collectors() []prometheus.Collector {
	var out []prometheus.Collector
	gauge := func(name, help string, labels prometheus.Labels, read func() float64) {
		out = append(out, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, read))
	}
	each := func(name, help, label string, values map[string]func() int64) {
		for value, read := range values {
			gauge(name, help, prometheus.Labels{label: value}, func() float64 { return float64(read()) })
		}
	}
	each("timmy_requests", "Requests by what became of them, since the start.", "event", map[string]func() int64{
		"accepted": func() int64 { return p.book.Stats().Accepted },
		"started":  func() int64 { return p.book.Stats().Started },
		"finished": func() int64 { return p.book.Stats().Finished },
	})
	each("timmy_credits", "Payments reported, by what the report did.", "outcome", map[string]func() int64{
		"applied":  func() int64 { return p.book.Stats().Applied },
		"replayed": func() int64 { return p.book.Stats().Replayed },
		"unknown":  func() int64 { return p.book.Stats().Unknown },
		"refused":  func() int64 { return p.book.Stats().Refused },
	})
	each("timmy_parcels", "Parcels by what the courier did.", "event", map[string]func() int64{
		"sealed":    func() int64 { return p.courier.Stats().Sealed },
		"delivered": func() int64 { return p.courier.Stats().Delivered },
		"retried":   func() int64 { return p.courier.Stats().Retried },
		"abandoned": func() int64 { return p.courier.Stats().Abandoned },
	})
	each("timmy_db_commits", "Group commits by file.", "file", map[string]func() int64{
		"ledger": func() int64 { return p.ledger.Stats().Commits },
		"events": func() int64 { return p.events.Stats().Commits },
	})
	each("timmy_db_writes", "Writes made durable, by file.", "file", map[string]func() int64{
		"ledger": func() int64 { return p.ledger.Stats().Writes },
		"events": func() int64 { return p.events.Stats().Writes },
	})
	each("timmy_relay_open", "Connections and subscriptions of the own relay, now.", "what", map[string]func() int64{
		"connections":   func() int64 { return int64(p.relay.Stats().Connections) },
		"subscriptions": func() int64 { return p.relay.Stats().Subscriptions },
	})
	each("timmy_relay_connections_ended", "Connections that the own relay refused, or closed because their reader was too slow.", "why", map[string]func() int64{
		"turned_away": func() int64 { return p.relay.Stats().Turned },
		"stalled":     func() int64 { return p.relay.Stats().Stalled },
	})
	each("timmy_relay_events", "Events at the own relay by what became of them.", "event", map[string]func() int64{
		"stored":  func() int64 { return p.relay.Stats().Stored },
		"refused": func() int64 { return p.relay.Stats().Refused },
		"expired": func() int64 { return p.relay.Stats().Expired },
	})
	each("timmy_relay_messages", "Messages of the own relay, and those over the rate.", "event", map[string]func() int64{
		"read":    func() int64 { return p.relay.Stats().Frames },
		"sent":    func() int64 { return p.relay.Stats().Sent },
		"limited": func() int64 { return p.relay.Stats().Limited },
	})
	gauge("timmy_messages_accepted", "Direct messages taken in.", nil, func() float64 { return float64(p.inbox.Stats().Accepted) })
	gauge("timmy_books_ok", "1 while the books add up.", nil, func() float64 { return truth(p.booksOK.Load()) })
	gauge("timmy_wallet_up", "1 while payments can be detected and credited.", nil, func() float64 { return truth(p.till.Healthy() == nil) })
	return out
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
