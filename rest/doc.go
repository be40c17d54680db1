// Package rest is the HTTP door: the documented session API, its events, the
// identity token, the pages, and health. docs/openapi.yaml describes it, and
// every answer in the tests is held against that document.
//
// It turns calls into a Request or a TopUp, hands them to the desk or the till,
// and maps what comes back to the documented words. It keeps no state of its own
// but rate limits, counters and open streams: bearers and identity tokens are
// derived from the server key, and Idempotency-Keys are rows of the book.
//
// What it will not do: ask the wallet when a session is read, tell a caller the
// cause of a failure, take a bearer from a URL, believe a forwarding header of a
// stranger, or show one session's events to another.
//
//	api, err := rest.New(rest.Config{Desk: desk, Till: till, …})
//	public.Handler = api.Handler()    // the world
//	loopback.Handler = api.Metrics()  // prometheus, health in detail
//	server.RegisterOnShutdown(api.Drain)
package rest
