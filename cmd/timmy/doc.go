// Command timmy is Timmy Tower: an AI agent that lives on Nostr and is paid in
// sats. This package holds the settings, the wiring and the subcommands; it is
// the only place that knows all names, and nobody imports it.
//
//	timmy init          write timmy.toml and the keys
//	timmy run           run the tower
//	timmy config        show what is set, and where it was set
//
// Settings come, each over the one before, from built-in defaults, timmy.toml,
// the environment and flags; see [Settings]. Secrets never come from the command
// line. A data directory belongs to one running tower at a time; other commands
// reach it through timmy.sock in that directory.
//
// Exit codes: 0 done, 1 failed or badly configured, 2 wrong usage, 3 unreachable,
// 4 not authorized, 5 not found, 6 conflict, 7 not enough money, 124 timed out.
package main
