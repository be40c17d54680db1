// Package tower is the pipelines: the Desk, which runs requests, the Till, which
// takes money in, and the Payouts, which give unspent money back. Prices, trust and
// the free pool are pure functions with their constants in one table.
//
// It declares what it needs ([Book], [Records], [Invoices], [Refunds], [Model],
// [Wallet], [Payer], [Rates]) and imports no other package of ours but the vocabulary. It never
// knows which front asked, never opens a socket, and calls back into nobody:
// what leaves is a parcel row that the book writes.
package tower
