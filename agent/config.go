package agent

import (
	"crypto/rand"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	openai "github.com/sashabaranov/go-openai"
	"github.com/sony/gobreaker/v2"

	"github.com/timmy-tower/timmy"
)

// Timeouts of a provider. Zero is the default: 5 s to connect, 30 s to the first
// byte, 20 s between bytes, 120 s in all.
type Timeouts struct{ Connect, FirstByte, Idle, Total time.Duration }

// Config is what [NewOpenAI] needs. Only BaseURL and WorkModel must be set. A
// nil HTTP client, random source or logger is the usual one; if HTTP is set,
// Timeouts.Connect is its own affair.
type Config struct {
	BaseURL    string // with the version, as in https://api.openai.com/v1
	APIKey     string
	EvalModel  string // empty: WorkModel
	WorkModel  string
	System     string // what the model is told about itself; empty: a default
	OutputMax  int64  // tokens of an answer, at most; 0: 4096
	EvalOutput int64  // tokens of a verdict, for models that think first; 0: 200
	Timeouts   Timeouts
	HTTP       *http.Client
	Rand       io.Reader
	Log        *slog.Logger
}

const defaultSystem = "You are Timmy, a helpful assistant that people reach over Nostr and pay in satoshi. " +
	"Answer in plain text without Markdown tables, in the language of the question, correctly and briefly."

// OpenAI is a model behind an OpenAI-compatible chat API. It may be used by
// several goroutines.
type OpenAI struct {
	cfg     Config
	client  *openai.Client
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	canary  string
}

// NewOpenAI checks the settings; it does not call the provider.
func NewOpenAI(cfg Config) (*OpenAI, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	var token [12]byte
	if _, err := io.ReadFull(cfg.Rand, token[:]); err != nil {
		return nil, err
	}
	m := &OpenAI{cfg: cfg, canary: hex.EncodeToString(token[:])}
	conf := openai.DefaultConfig(cfg.APIKey)
	conf.BaseURL = strings.TrimRight(cfg.BaseURL, "/")
	conf.HTTPClient = newWire(cfg)
	m.client = openai.NewClientWithConfig(conf)
	m.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Timeout:     breakerPause,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakerFailures },
	})
	return m, nil
}

// complete fills in the defaults and refuses what cannot work.
func (cfg *Config) complete() error {
	u, err := url.Parse(cfg.BaseURL)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil {
		return timmy.Errorf(timmy.Invalid, "model base url: want https://host/v1")
	}
	if cfg.WorkModel == "" {
		return timmy.Errorf(timmy.Invalid, "model: which one is missing")
	}
	if cfg.OutputMax < 0 || cfg.OutputMax > maxOutput || cfg.EvalOutput < 0 || cfg.EvalOutput > maxEvalOutput {
		return timmy.Errorf(timmy.Invalid, "model output: want at most %d tokens, for a verdict %d", maxOutput, maxEvalOutput)
	}
	fill(&cfg.EvalModel, cfg.WorkModel)
	fill(&cfg.System, defaultSystem)
	fill(&cfg.OutputMax, 4096)
	fill(&cfg.EvalOutput, evalOutput)
	fill(&cfg.Timeouts.Connect, connectTime)
	fill(&cfg.Timeouts.FirstByte, firstByteTime)
	fill(&cfg.Timeouts.Idle, idleTime)
	fill(&cfg.Timeouts.Total, totalTime)
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	cfg.Rand = &shared{r: cfg.Rand}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return nil
}

// shared is a random source for several goroutines.
type shared struct {
	mu sync.Mutex
	r  io.Reader
}

// Read reads alone.
func (s *shared) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.r.Read(p)
}

// fill sets what is zero.
func fill[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// Stats say how the provider does.
type Stats struct {
	Breaker string // closed, half-open or open
}

// Stats reports the breaker's state.
func (m *OpenAI) Stats() Stats { return Stats{Breaker: m.breaker.State().String()} }
