// Package lnurl is the Lightning address: LNURL-pay (LUD-06, 09, 12, 16, 18, 21), the
// zap callback of NIP-57, and NIP-05 names.
//
// It answers in the form wallets and clients read: CORS everywhere, and errors
// as HTTP 200 with {"status":"ERROR","reason":"…"}. It never touches money: it
// asks the till for an invoice, and what is paid is credited elsewhere.
package lnurl
