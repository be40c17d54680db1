package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
)

// listen opens a TCP port. The error names the setting, for a taken port is the
// commonest reason why a tower does not start.
func listen(ctx context.Context, variable, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, &exitError{
			exit: exitFailed, code: "address_in_use",
			err:  fmt.Errorf("%s: %s is taken by another program", variable, addr),
			hint: "stop that program, or set " + variable + " to another port",
		}
	}
	if err != nil {
		return nil, &exitError{exit: exitFailed, err: fmt.Errorf("%s: cannot listen on %s: %w", variable, addr, err)}
	}
	return l, nil
}
