// Package rest is the HTTP door: the documented session API, its events, the
// identity token, the page, and health.
//
// It turns calls into a Request or a TopUp, hands them to the desk or the till,
// and maps what comes back to the documented words. It keeps no state of its own
// but rate limits: bearers and identity tokens are derived from the server key.
package rest
