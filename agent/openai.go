package agent

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"

	openai "github.com/sashabaranov/go-openai"

	"github.com/timmy-tower/timmy"
)

// errUnusable is an answer that came and cannot be given to anyone. It says
// nothing about the provider's health, for askers can cause it.
var errUnusable = errors.New("unusable answer")

// Evaluate asks whether the request is fit to be worked on. A verdict that is
// not exactly the JSON asked for is an error.
func (m *OpenAI) Evaluate(ctx context.Context, j timmy.Job) (timmy.Verdict, error) {
	messages, err := m.evalMessages(j)
	if err != nil {
		return timmy.Verdict{}, m.failed(err)
	}
	var verdict timmy.Verdict
	err = m.guard(ctx, func(ctx context.Context) error {
		// To the library temperature 0 is "not set"; the smallest number stands for it.
		req := m.request(m.cfg.EvalModel, messages, m.cfg.EvalOutput, math.SmallestNonzeroFloat32)
		res, err := m.client.CreateChatCompletion(ctx, req)
		if err != nil {
			return err
		}
		if len(res.Choices) == 0 {
			return fmt.Errorf("%w: no choices", errUnusable)
		}
		text := res.Choices[0].Message.Content
		if m.leaks(text) {
			return fmt.Errorf("%w: the verdict holds the canary", errUnusable)
		}
		if verdict, err = parseVerdict(text); err != nil {
			return fmt.Errorf("%w: %w", errUnusable, err)
		}
		said := timmy.Usage{In: int64(res.Usage.PromptTokens), Out: int64(res.Usage.CompletionTokens)}
		verdict.Usage = m.usage(said, said != timmy.Usage{}, messages, text, m.cfg.EvalOutput)
		return nil
	})
	if err != nil {
		return timmy.Verdict{}, m.failed(err)
	}
	return verdict, nil
}

// Work answers the request within outputMax tokens, giving the text to delta as
// it comes, a little behind so that no secret leaves in pieces. delta may be
// nil.
func (m *OpenAI) Work(ctx context.Context, j timmy.Job, outputMax int64, delta func(string)) (timmy.Answer, error) {
	if outputMax <= 0 {
		return timmy.Answer{}, timmy.Errorf(timmy.Invalid, "no room for an answer")
	}
	outputMax = min(outputMax, m.cfg.OutputMax)
	messages := m.workMessages(j)
	var answer timmy.Answer
	err := m.guard(ctx, func(ctx context.Context) (err error) {
		req := m.request(m.cfg.WorkModel, messages, outputMax, 0)
		req.StreamOptions = &openai.StreamOptions{IncludeUsage: true}
		end := &ending{last: []byte{'\n'}}
		stream, err := m.client.CreateChatCompletionStream(context.WithValue(ctx, endingKey{}, end), req)
		if err != nil {
			return err
		}
		defer stream.Close()
		s := newSieve(m.canary, textLimit(outputMax), delta)
		said, ok, err := drain(stream, s, end)
		if err != nil {
			return err
		}
		if answer.Text, err = s.finish(); err != nil {
			return err
		}
		answer.Usage = m.usage(said, ok, messages, answer.Text, outputMax)
		return nil
	})
	if err != nil {
		return timmy.Answer{}, m.failed(err)
	}
	return answer, nil
}

// textLimit is how many bytes that many tokens can be: more means that the
// provider ignores its limit, at the operator's expense.
func textLimit(outputMax int64) int {
	return int(min(maxText, 32*outputMax+1024))
}

// request is a chat request; temperature 0 is the provider's default. The library
// knows which models refuse max_tokens and a temperature.
func (m *OpenAI) request(model string, messages []openai.ChatCompletionMessage, outputMax int64, temperature float32) openai.ChatCompletionRequest {
	req := openai.ChatCompletionRequest{Model: model, Messages: messages, Temperature: temperature}
	req.MaxTokens = int(outputMax) //lint:ignore SA1019 what servers other than OpenAI's know
	if openai.NewReasoningValidator().Validate(req) != nil {
		//lint:ignore SA1019 unset again, for models that refuse it
		req.MaxTokens, req.MaxCompletionTokens, req.Temperature = 0, int(outputMax), 0
	}
	return req
}

// chunk is a frame of a stream, read loosely: providers differ in everything but
// these.
type chunk struct {
	Choices []struct {
		Index int `json:"index"`
		Delta struct {
			Content json.RawMessage `json:"content"`
		} `json:"delta"`
		Finish json.RawMessage `json:"finish_reason"`
	} `json:"choices"`
	Usage json.RawMessage `json:"usage"`
	Error json.RawMessage `json:"error"`
}

// drain reads a stream to its end. A stream that stops without saying so, by a
// finish reason or [DONE], was cut: its text is no answer.
func drain(stream *openai.ChatCompletionStream, s *sieve, end *ending) (said timmy.Usage, ok bool, err error) {
	finished := ""
	for {
		raw, err := stream.RecvRaw()
		if errors.Is(err, io.EOF) {
			return said, ok, ended(finished, end)
		}
		if err != nil {
			return said, ok, err
		}
		var c chunk
		if err := json.Unmarshal(raw, &c); err != nil {
			return said, ok, fmt.Errorf("reading a frame: %w", err)
		}
		if len(c.Error) > 0 && string(c.Error) != "null" {
			return said, ok, fmt.Errorf("the provider broke off: %.200s", c.Error)
		}
		if u, good := parseUsage(c.Usage); good {
			said, ok = u, true
		}
		for _, choice := range c.Choices {
			var text, why string
			if choice.Index != 0 {
				continue
			}
			if json.Unmarshal(choice.Delta.Content, &text) == nil {
				if err := s.push(text); err != nil {
					return said, ok, err
				}
			}
			if json.Unmarshal(choice.Finish, &why) == nil && why != "" {
				finished = why
			}
		}
	}
}

// doneLine is how a stream says that it is over; model text cannot forge it, for
// line ends in it are escaped.
var doneLine = []byte("\ndata: [DONE]")

// ended judges how a stream stopped.
func ended(finished string, end *ending) error {
	if finished == string(openai.FinishReasonContentFilter) {
		return fmt.Errorf("%w: the provider's filter stopped it", errUnusable)
	}
	if finished != "" || bytes.Contains(end.last, doneLine) {
		return nil
	}
	return io.ErrUnexpectedEOF
}

// guard runs a call under the breaker and the total time.
func (m *OpenAI) guard(ctx context.Context, call func(context.Context) error) error {
	done, err := m.breaker.Allow()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, m.cfg.Timeouts.Total, errTotal)
	defer cancel()
	err = call(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	if ctx.Err() != nil || harmless(err) {
		done(nil) // we or the caller ended it, or the provider is well
	} else {
		done(err)
	}
	return err
}

// harmless: the provider is well. What an asker can cause must not open the
// breaker for everybody.
func harmless(err error) bool {
	if err == nil || errors.Is(err, errUnusable) || errors.Is(err, errLarge) {
		return true
	}
	switch statusOf(err) {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// statusOf is the HTTP status of a provider's refusal, or 0.
func statusOf(err error) int {
	if e, ok := errors.AsType[*openai.APIError](err); ok {
		return e.HTTPStatusCode
	}
	if e, ok := errors.AsType[*openai.RequestError](err); ok {
		return e.HTTPStatusCode
	}
	return 0
}

// failed is what the asker may read of a failure; the cause is for the log, cut
// short and without the key.
func (m *OpenAI) failed(err error) error {
	message := "the model is temporarily unavailable"
	switch {
	case errors.Is(err, errSlow), errors.Is(err, errTotal), errors.Is(err, context.DeadlineExceeded):
		message = "the model took too long"
	case errors.Is(err, errUnusable), errors.Is(err, errLarge):
		message = "the model gave no usable answer"
	}
	return &timmy.Error{Code: timmy.Unavailable, Message: message, Err: &cause{err: err, key: m.cfg.APIKey}}
}

// cause is an error whose text is cut short and holds no key. [errors.Is] sees
// through it.
type cause struct {
	err error
	key string
}

func (c *cause) Unwrap() error { return c.err }

func (c *cause) Error() string {
	s := c.err.Error()
	if c.key != "" {
		s = strings.ReplaceAll(s, c.key, "[key]")
	}
	return strings.ToValidUTF8(s[:min(len(s), 300)], "?")
}

// token is n random bytes in hex.
func (m *OpenAI) token(n int) (string, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(m.cfg.Rand, b); err != nil {
		return "", err
	}
	return hex.EncodeToString(b), nil
}
