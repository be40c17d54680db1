package failpoint

import "errors"

// ErrHit is what a point that is set to fail returns.
var ErrHit = errors.New("failpoint")

// Point is one step. Its name is what FAILPOINT and the tests call it.
type Point string

// The steps of the books: one transaction each. Before: all of it is written and
// nothing is committed. After: it is committed, and its caller does not know yet.
const (
	LedgerAccept     Point = "ledger accept"
	LedgerStart      Point = "ledger start" // with the hold
	LedgerExtend     Point = "ledger extend"
	LedgerFinish     Point = "ledger finish"
	LedgerRecover    Point = "ledger recover"
	LedgerCancel     Point = "ledger cancel"
	LedgerExpect     Point = "ledger expect"
	LedgerIssued     Point = "ledger issued"
	LedgerWithdrawn  Point = "ledger withdrawn"
	LedgerLapse      Point = "ledger lapse"
	LedgerCredit     Point = "ledger credit" // with the watcher's cursor
	LedgerResolve    Point = "ledger resolve"
	LedgerFund       Point = "ledger fund"
	LedgerRefund     Point = "ledger refund" // it is reserved, or given its invoice
	LedgerLaunch     Point = "ledger launch" // before the wallet is asked to pay
	LedgerLand       Point = "ledger land"   // the end that the wallet told
	LedgerRecall     Point = "ledger recall" // the end of what was not launched
	LedgerRemainder  Point = "ledger remainder"
	LedgerOpen       Point = "ledger open"   // a session; with the remainder of another
	LedgerExpire     Point = "ledger expire" // a session, seen by who reads it
	LedgerExpireAll  Point = "ledger expire all"
	LedgerPresented  Point = "ledger presented"
	LedgerIdem       Point = "ledger idem"
	LedgerKeep       Point = "ledger keep"
	LedgerDrop       Point = "ledger drop"
	LedgerOnce       Point = "ledger once"
	LedgerClaim      Point = "ledger claim"  // a claim code is made
	LedgerSealed     Point = "ledger sealed" // a parcel
	LedgerDelivered  Point = "ledger delivered"
	LedgerRetry      Point = "ledger retry" // a parcel is put off, or given up
	LedgerAlert      Point = "ledger alert"
	LedgerPrune      Point = "ledger prune"
	LedgerMeet       Point = "ledger meet"
	LedgerForget     Point = "ledger forget"
	LedgerSeal       Point = "ledger seal"
	LedgerFile       Point = "ledger file" // of what is whose
	LedgerCheckpoint Point = "ledger checkpoint"
	LedgerRoot       Point = "ledger root"
	LedgerPublished  Point = "ledger published"
	LedgerAdmit      Point = "ledger admit" // to the relay
)

// The steps of everything else.
const (
	DBCommit       Point = "db commit" // of a batch of writes, of either file
	DBMigrate      Point = "db migrate"
	AgentEvaluate  Point = "agent evaluate"
	AgentWork      Point = "agent work"
	WalletIssue    Point = "wallet issue"
	WalletSend     Point = "wallet send" // a refund is paid
	WalletPush     Point = "wallet push" // a payment that the wallet reports
	InboxSubmit    Point = "inbox submit"
	StoreSave      Point = "store save"
	CourierPublish Point = "courier publish"
	BackupCopy     Point = "backup copy"
	BackupPlace    Point = "backup place"
	RestorePlace   Point = "restore place"
)

// All lists the points.
func All() []Point {
	return []Point{
		LedgerAccept, LedgerStart, LedgerExtend, LedgerFinish, LedgerRecover, LedgerCancel, LedgerExpect, LedgerIssued,
		LedgerWithdrawn, LedgerLapse, LedgerCredit, LedgerResolve, LedgerFund, LedgerRefund, LedgerLaunch, LedgerLand, LedgerRecall,
		LedgerRemainder, LedgerOpen, LedgerExpire, LedgerExpireAll,
		LedgerPresented, LedgerIdem, LedgerKeep, LedgerDrop, LedgerOnce, LedgerClaim, LedgerSealed, LedgerDelivered, LedgerRetry, LedgerPrune, LedgerMeet,
		LedgerForget, LedgerSeal, LedgerFile, LedgerCheckpoint, LedgerRoot, LedgerPublished, LedgerAdmit,
		LedgerAlert,
		DBCommit, DBMigrate, AgentEvaluate, AgentWork, WalletIssue, WalletSend, WalletPush, InboxSubmit, StoreSave,
		CourierPublish, BackupCopy, BackupPlace, RestorePlace,
	}
}
