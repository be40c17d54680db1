// Package wallet makes Lightning invoices, says what was paid, and pays refunds: it
// is the tower's Wallet, Watcher, Payer, Targets and Rates.
//
// Three wallets' worth of trust are kept apart here. [Check] reads every invoice
// that a backend made before anybody sees it: right network, right amount, right
// hash, a payment secret, the description hash that was asked for, not expired.
// [Fake] is the wallet of a fresh machine: real signed regtest invoices that
// anyone can settle and that are worth nothing. [LNbits] speaks to an LNbits
// server with an invoice key, which cannot spend.
//
// [Static] and [Oracle] are the bitcoin price. An oracle asks several sources,
// believes their median, and rather says nothing than something old.
//
// The package keeps no books: what a payment is worth, and whose it is, is the
// ledger's to say. Send of those that can pay is called by the tower's Payouts
// alone, at most once for an invoice; what is not plainly paid or failed is pending.
//
//	w, err := wallet.OpenFake("wallet.jsonl", time.Now, rand.Reader, log)
//	inv, err := w.Issue(ctx, ref, timmy.TopUp{Amount: 100 * timmy.Sat, Memo: "Timmy"}, time.Hour)
package wallet
