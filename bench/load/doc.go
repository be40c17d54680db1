// Package load makes load for the benches and counts what came back: events that
// a seed repeats, a websocket client that costs little beside what it measures,
// percentiles, and what a process used.
package load
