package lnurl

import (
	"context"

	"github.com/timmy-tower/timmy"
)

// Till makes invoices. A Conflict error with an invoice means that the same zap
// request has an open invoice: that one is the answer.
type Till interface {
	Invoice(ctx context.Context, t timmy.TopUp) (timmy.Invoice, error)
}

// Book reads what became of an invoice. NotFound: none of ours.
type Book interface {
	Invoice(ctx context.Context, h timmy.Hash) (timmy.InvoiceStatus, error)
	// Claimed is the account that a claim code names. NotFound: nobody has it.
	Claimed(ctx context.Context, c timmy.ClaimCode) (timmy.Account, error)
}
