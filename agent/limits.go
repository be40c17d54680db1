package agent

import "time"

// Everything that can grow, and why it may grow no further.
const (
	// maxText is the longest answer in bytes; relays and clients take less.
	maxText = 1 << 20
	// maxUnary is the largest plain JSON answer that is read.
	maxUnary = 1 << 20
	// maxStream is the largest stream that is read: a token of four letters
	// comes in a frame of about 300.
	maxStream = 32 << 20
	// maxLine is the longest line of a stream: one frame may carry a whole
	// answer, escaped.
	maxLine = 2 << 20
	// endBytes of a stream are kept to see whether it ended with [DONE].
	endBytes = 64
	// maxErrorBody is how much of a refusal is kept for the log.
	maxErrorBody = 4 << 10

	// evalOutput is enough for a verdict and a sentence.
	evalOutput = 200
	// maxEvalOutput is for models that think aloud first.
	maxEvalOutput = 4096
	// evalHistory is how many turns the evaluation sees: enough to know what
	// "yes, do that" means.
	evalHistory = 4
	// evalTurn is how much of each of them it sees.
	evalTurn = 2000
	// maxReason is the longest reason for a refusal.
	maxReason = 500
	// maxOutput caps an answer's tokens whatever the settings say.
	maxOutput = 128_000

	// The provider's time: to connect, to the first byte, between bytes, in all.
	connectTime   = 5 * time.Second
	firstByteTime = 30 * time.Second
	idleTime      = 20 * time.Second
	totalTime     = 120 * time.Second

	// maxTries is one retry, and only before the first byte.
	maxTries = 2
	// retryPause is taken when the provider names none; maxPause is the longest
	// that one may name, for the asker waits.
	retryPause = 500 * time.Millisecond
	maxPause   = 10 * time.Second

	// breakerFailures in a row open the breaker for breakerPause.
	breakerFailures = 5
	breakerPause    = 30 * time.Second

	// promptSlack is how many tokens a chat template may add to each message.
	promptSlack = 64
	// usageSlack is how many tokens a provider may count beyond what we sent and
	// asked for, its own template and thinking included, before it is not believed.
	usageSlack = 8192

	// holdBack is how much of a stream is kept until more comes, so that a
	// secret that arrives in pieces is recognised whole. It is longer than any.
	holdBack = 160

	// maxQuestion is the longest text the builtin model looks at as a formula.
	maxQuestion = 500
	// maxBits bounds the numbers of a formula, about 1200 digits, and maxDepth
	// its parentheses.
	maxBits  = 4096
	maxDepth = 64
	// maxExponent bounds a power before it is computed.
	maxExponent = 4096
	// maxDigits is how many decimal places are shown.
	maxDigits = 12
	// maxShown is how many bytes of decoded data are shown.
	maxShown = 4096
	// piece is about how many bytes the builtin model streams at a time.
	piece = 48
)
