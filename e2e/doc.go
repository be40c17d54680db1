// Package e2e tests the built binary: it starts a tower on a free port with its
// own data directory, drives it with real clients (nostr-tools and NDK under
// js/), with plain HTTP and with an OpenAI-compatible server, kills it, starts it
// again, and reads its books.
package e2e
