package main

import (
	"errors"
	"fmt"
	"strings"
)

// secretFlags are names people try for secrets. None of them is a flag: other
// users of the machine can read a command line.
var secretFlags = []string{
	"nsec", "sec", "secret", "private-key", "privkey", "password", "passphrase", "api-key", "token",
	"bearer", "macaroon", "preimage", "nwc", "lnbits-key", "openai-api-key",
}

// refuseSecrets refuses a command line that carries a secret. The secret is not
// repeated in the error.
func refuseSecrets(args []string) error {
	for _, arg := range args {
		if strings.Contains(strings.ToLower(arg), "nsec1") {
			return secretError("a secret key (nsec1…)")
		}
		name, isFlag := strings.CutPrefix(arg, "--")
		if !isFlag {
			continue
		}
		name, _, _ = strings.Cut(name, "=")
		for _, s := range secretFlags {
			if strings.EqualFold(name, s) {
				return secretError("--" + s)
			}
		}
	}
	return nil
}

func secretError(what string) error {
	return &exitError{
		exit: exitUsage, code: "secret_on_command_line",
		err:  fmt.Errorf("%s: %w", what, errSecretArg),
		hint: "put it into a file of mode 0600, or into the environment",
	}
}

var errSecretArg = errors.New("secrets are refused on the command line, where other users can read them")
