package agent

import (
	"encoding/json"
	"fmt"
	"strconv"

	openai "github.com/sashabaranov/go-openai"

	"github.com/timmy-tower/timmy"
)

// wireUsage is a provider's usage; other counts it may hold are not needed.
type wireUsage struct {
	In  json.RawMessage `json:"prompt_tokens"`
	Out json.RawMessage `json:"completion_tokens"`
}

// parseUsage reads two whole numbers, not negative. ok is false for anything
// else.
func parseUsage(raw json.RawMessage) (timmy.Usage, bool) {
	var u wireUsage
	if len(raw) == 0 || json.Unmarshal(raw, &u) != nil {
		return timmy.Usage{}, false
	}
	in, errIn := strconv.ParseInt(string(u.In), 10, 64)
	out, errOut := strconv.ParseInt(string(u.Out), 10, 64)
	if errIn != nil || errOut != nil || in < 0 || out < 0 {
		return timmy.Usage{}, false
	}
	return timmy.Usage{In: in, Out: out}, true
}

// plainUsage keeps the two numbers and drops the details, whose types differ
// between providers.
func plainUsage(raw json.RawMessage) json.RawMessage {
	u, _ := parseUsage(raw)
	return fmt.Appendf(nil, `{"prompt_tokens":%d,"completion_tokens":%d}`, u.In, u.Out)
}

// usage believes the provider if what it says can be: no more than one token a
// byte and what its own template and thinking may add, and not nothing for
// something. Otherwise it is our own estimate, marked so. Either way the hold
// bounds what the asker pays.
func (m *OpenAI) usage(said timmy.Usage, ok bool, messages []openai.ChatCompletionMessage, text string, outputMax int64) timmy.Usage {
	bytes, tokens := int64(0), int64(0)
	for _, message := range messages {
		bytes += int64(len(message.Content)) + promptSlack
		tokens += timmy.Tokens(message.Content) + 4 // the template's own
	}
	if ok && said.In > 0 && said.In <= bytes+usageSlack && said.Out > 0 && said.Out <= outputMax+usageSlack {
		return said
	}
	if ok {
		m.cfg.Log.Warn("the model provider counts tokens in a way that cannot be: our own estimate is charged",
			"in", said.In, "out", said.Out, "outputMax", outputMax)
	}
	return timmy.Usage{In: tokens, Out: min(max(1, timmy.Tokens(text)), outputMax), Estimated: true}
}
