package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/timmy-tower/timmy"
	"github.com/timmy-tower/timmy/relay"
)

// relayRule is one line of `relay list`.
type relayRule struct {
	What   string `json:"what"` // banned key, allowed key, banned event, blocked address, allowed kind, refused kind
	Value  string `json:"value"`
	Reason string `json:"reason,omitempty"`
}

// relayStats is what the relay did since the tower was started.
type relayStats struct {
	relay.Stats
	Trusted int // keys in the web of trust
}

// relayAPI is what `timmy relay` asks a running tower to do: the calls of NIP-86.
func (p *parts) relayAPI(mux *http.ServeMux) {
	mux.Handle("POST /relay/call", controlHandler(func(ctx context.Context, c relay.Call) (any, error) { return p.relay.Manage(ctx, c) }))
	mux.Handle("POST /relay/stats", controlHandler(func(context.Context, nothing) (relayStats, error) {
		s := relayStats{Stats: p.relay.Stats()}
		if p.web != nil {
			s.Trusted = p.web.Size()
		}
		return s, nil
	}))
}

func relayCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "relay",
		Short: "Look after the relay of a running tower",
		Long: "Look after the relay of a running tower. What is decided here holds at once, is kept over restarts, and goes over the settings.\n" +
			"The operators (TIMMY_OPERATORS) can do the same from a client that speaks NIP-86.",
		Example: "  timmy relay ban npub1… --reason spam\n  timmy relay ban 192.0.2.0/24\n  timmy relay list --json",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		relayRuleCommand(env, "ban", "Ban a key, an event or an address; events of a banned key are deleted, connections from a banned address are cut"),
		relayRuleCommand(env, "unban", "Take a ban back; what was deleted stays so"),
		relayRuleCommand(env, "allow", "Let a key write, whatever the settings say"),
		relayRuleCommand(env, "unallow", "Take that back"),
		relayListCommand(env), relayStatsCommand(env))
	return cmd
}

// relayRuleCommand makes one of the commands that decide about something.
func relayRuleCommand(env Env, verb, short string) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:     verb + " KEY|EVENT|ADDRESS",
		Short:   short,
		Long:    short + ".\nKEY is an npub, or key:<hex>; EVENT is event:<hex>; ADDRESS is an address or a network such as 192.0.2.0/24.\nExit code 3: no tower runs.",
		Example: "  timmy relay " + verb + " npub1…\n  timmy relay " + verb + " key:…",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadSettings(env, cmd)
			if err != nil {
				return err
			}
			method, value, err := relayMethod(verb, args[0])
			if err != nil {
				return err
			}
			if err := callRelay(cmd.Context(), c, method, nil, value, reason); err != nil {
				return err
			}
			done := struct {
				Method string `json:"method"`
				Value  string `json:"value"`
			}{method, value}
			return emit(cmd, done, func(w io.Writer) { fmt.Fprintf(w, "done: %s %s\n", verb, args[0]) })
		},
	}
	if verb == "allow" || verb == "unallow" {
		cmd.Use = verb + " KEY"
	}
	addSettingFlags(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "why, in your words; only operators see it")
	return cmd
}

var errRelayArg = timmy.Errorf(timmy.Invalid, "want an npub, key:<hex>, event:<hex>, an address or a network")

// relayMethod finds the call that a verb means for an argument. Bare hex could be a
// key as well as an event, and is refused.
func relayMethod(verb, arg string) (method, value string, err error) {
	prefix, hex := cutKind(arg)
	if prefix == "" && len(arg) < 64 {
		if _, errA := netip.ParseAddr(arg); errA != nil {
			if _, err := netip.ParsePrefix(arg); err != nil {
				return "", "", errRelayArg
			}
		}
		switch verb {
		case "ban":
			return "blockip", arg, nil
		case "unban":
			return "unblockip", arg, nil
		}
		return "", "", timmy.Errorf(timmy.Invalid, "addresses are banned, or not: want a key")
	}
	switch prefix {
	case "key":
		k, err := parsePubKey(hex)
		return verb + "pubkey", k.String(), err
	case "event":
		if verb == "ban" || verb == "unban" {
			return verb + "event", hex, nil
		}
	}
	return "", "", errRelayArg
}

func cutKind(arg string) (prefix, rest string) {
	for _, p := range []string{"key", "event"} {
		if n := len(p) + 1; len(arg) > n && arg[:n] == p+":" {
			return p, arg[n:]
		}
	}
	if len(arg) > 5 && arg[:5] == "npub1" {
		return "key", arg
	}
	return "", arg
}

// callRelay asks the running tower.
func callRelay(ctx context.Context, c *Config, method string, out any, params ...string) error {
	call := relay.Call{Method: method}
	for _, s := range params {
		b, err := json.Marshal(s)
		if err != nil {
			return err
		}
		call.Params = append(call.Params, b)
	}
	return controlClient(c.Tower.DataDir).Call(ctx, "POST", "/relay/call", call, out)
}

func relayListCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List what was decided while the tower ran",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadSettings(env, cmd)
			if err != nil {
				return err
			}
			rules, err := relayRules(cmd.Context(), c)
			if err != nil {
				return err
			}
			return emit(cmd, rules, func(w io.Writer) {
				if len(rules) == 0 {
					fmt.Fprintln(w, "nobody is banned, and nothing was decided over the settings")
					return
				}
				rows := [][]string{{"WHAT", "VALUE", "REASON"}}
				for _, r := range rules {
					rows = append(rows, []string{r.What, r.Value, r.Reason})
				}
				table(w, rows)
			})
		},
	}
	addSettingFlags(cmd)
	return cmd
}

func relayRules(ctx context.Context, c *Config) ([]relayRule, error) {
	rules := []relayRule{}
	for _, l := range []struct{ method, what, member string }{
		{"listbannedpubkeys", "banned key", "pubkey"},
		{"listallowedpubkeys", "allowed key", "pubkey"},
		{"listbannedevents", "banned event", "id"},
		{"listblockedips", "blocked address", "ip"},
	} {
		var list []map[string]string
		if err := callRelay(ctx, c, l.method, &list); err != nil {
			return nil, err
		}
		for _, x := range list {
			rules = append(rules, relayRule{l.what, x[l.member], x["reason"]})
		}
	}
	for _, l := range []struct{ method, what string }{
		{"listallowedkinds", "allowed kind"}, {"listdisallowedkinds", "refused kind"},
	} {
		var kinds []int
		if err := callRelay(ctx, c, l.method, &kinds); err != nil {
			return nil, err
		}
		for _, k := range kinds {
			rules = append(rules, relayRule{What: l.what, Value: fmt.Sprint(k)})
		}
	}
	return rules, nil
}

func relayStatsCommand(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Show what the relay did since the tower was started",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadSettings(env, cmd)
			if err != nil {
				return err
			}
			var s relayStats
			if err := controlClient(c.Tower.DataDir).Call(cmd.Context(), "POST", "/relay/stats", nil, &s); err != nil {
				return err
			}
			return emit(cmd, s, func(w io.Writer) {
				table(w, [][]string{
					{"connections", fmt.Sprint(s.Connections), fmt.Sprintf("%d since the start, %d turned away, %d cut for being slow", s.Accepted, s.Turned, s.Stalled)},
					{"subscriptions", fmt.Sprint(s.Subscriptions), ""},
					{"events", fmt.Sprint(s.Stored), fmt.Sprintf("taken; %d refused, %d deleted by age", s.Refused, s.Expired)},
					{"messages", fmt.Sprint(s.Frames), fmt.Sprintf("read; %d written, %d over the rate", s.Sent, s.Limited)},
					{"trusted keys", fmt.Sprint(s.Trusted), "in the web of trust"},
				})
			})
		},
	}
	addSettingFlags(cmd)
	return cmd
}
