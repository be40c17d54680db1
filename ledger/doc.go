// Package ledger is the one durable record of the tower: accounts, postings,
// holds, requests, conversations, standings, sessions, invoices, refunds and the outbox.
//
// One method is one transaction, and what it returned is on the disk. Money is
// double entry: a posting takes from one account and gives to another, has a key
// that can be used once, and is never changed. Users, sessions and the free pool
// store a balance beside their postings, which is moved by guarded deltas only, so
// that it cannot fall below zero whatever runs at the same time:
//
//	UPDATE accounts SET held = held + ? WHERE name = ? AND posted - held >= ?
//
// A request reserves (Start), and later posts at most what it reserved and
// releases the rest (Finish). Whatever has to be told to somebody is a parcel row,
// written in the transaction that made it true.
//
// It knows no socket, no wallet and no model, asks nobody, and never decides what
// anything costs: prices and the rules of trust are given to it as functions.
package ledger
