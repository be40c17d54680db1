// Package relay is the Nostr door: the guard that owns every websocket, khatru
// behind it as the event pipeline, the event store, the inbox that turns events
// for the tower into requests, and the courier that delivers parcels to the own
// relay and to others.
//
// The guard, not khatru, reads frames: in order, limited in size and number, each
// with its documented answer, every id and signature verified before anything
// else sees an event. Who may read an event is decided per event at the exit, for
// stored and live events alike. What a client is told "OK true" is durable.
package relay
