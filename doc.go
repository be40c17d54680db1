// Package timmy is the vocabulary of Timmy Tower: an AI agent that lives on
// Nostr and is paid in sats.
//
// It holds the nouns that every other package speaks in and nothing else: money
// ([Msat]), who ([PubKey], [Account]), work ([Request], [Job], [Quote], [Cost],
// [Outcome], [Reply]), money in ([TopUp], [Invoice], [Payment], [Credit]), what
// goes out ([Parcel]), what is remembered of a key ([Standing], [Tier]), the
// documented HTTP [Session], and [Error].
//
// It imports the standard library only, and knows no database, no socket and no
// protocol. Data goes one way:
//
//	front → Request → desk → ledger → Parcel → courier
//
// The packages: nip (codecs), relay, lnurl and rest (doors), tower (the two
// pipelines), ledger on db (the one durable record), agent (models), wallet
// (Lightning), cmd/timmy (the only place that knows all names).
package timmy
