// Package agent is the tower's models: what decides whether a request is fit to
// be worked on, and what answers it.
//
// [Builtin] needs nothing: no network, no model, no cost. It answers what can be
// computed (arithmetic, conversions, decoding, dates, text tools), and says
// plainly that no language model is configured for the rest. [OpenAI] speaks to
// any server with the OpenAI chat API: OpenAI, Ollama, llama.cpp, vLLM, and
// others.
//
// A model decides accept or refuse and writes text. It decides nothing about
// money, limits or recipients, and its text is never a command: control
// characters, secrets and the canary of the system prompt do not leave. A
// verdict that is not exactly the JSON asked for is an error, and an error is
// the operator's failure: the asker pays nothing.
//
//	m, err := agent.NewOpenAI(agent.Config{BaseURL: "http://127.0.0.1:11434/v1", WorkModel: "qwen3:8b"})
//	answer, err := m.Work(ctx, job, 1024, func(piece string) { … })
package agent
