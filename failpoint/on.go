//go:build failpoint

package failpoint

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Before reports that a step is about to become durable, and does what FAILPOINT
// says of "before <point>". A FAILPOINT that cannot be read panics.
func Before(p Point) error { return hit("before " + string(p)) }

// After reports that it has: "after <point>".
func After(p Point) error { return hit("after " + string(p)) }

// action is what happens at a moment, from its nth time on.
type action struct {
	do    string // crash, error or delay
	delay time.Duration
	from  int64
	hits  atomic.Int64
}

// plan reads FAILPOINT once.
var plan = sync.OnceValues(func() (map[string]*action, error) { return parse(os.Getenv("FAILPOINT")) })

func hit(moment string) error {
	actions, err := plan()
	if err != nil {
		panic(err)
	}
	a, ok := actions[moment]
	if !ok || a.hits.Add(1) < a.from {
		return nil
	}
	switch a.do {
	case "crash":
		// The line is what shows the test that the point was reached.
		fmt.Fprintf(os.Stderr, "failpoint: %s: crash\n", moment)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "delay":
		time.Sleep(a.delay)
		return nil
	}
	return fmt.Errorf("%w: %s", ErrHit, moment)
}

// parse reads "moment=action; …".
func parse(text string) (map[string]*action, error) {
	actions := map[string]*action{}
	for _, part := range strings.Split(text, ";") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		moment, what, _ := strings.Cut(part, "=")
		a, err := parseAction(what)
		if err != nil {
			return nil, fmt.Errorf("FAILPOINT: %q: %w", part, err)
		}
		if !known(moment) {
			return nil, fmt.Errorf("FAILPOINT: %q is no moment", moment)
		}
		actions[moment] = a
	}
	return actions, nil
}

func parseAction(what string) (*action, error) {
	a := &action{from: 1}
	what, from, counted := strings.Cut(what, "@")
	if counted {
		n, err := strconv.ParseInt(from, 10, 64)
		if err != nil || n < 1 {
			return nil, errors.New("want @ and a number")
		}
		a.from = n
	}
	do, arg, _ := strings.Cut(what, " ")
	a.do = do
	switch {
	case do == "delay":
		d, err := time.ParseDuration(arg)
		a.delay = d
		return a, err
	case (do == "crash" || do == "error") && arg == "":
		return a, nil
	}
	return nil, errors.New("want crash, error or delay DURATION")
}

func known(moment string) bool {
	when, point, _ := strings.Cut(moment, " ")
	return (when == "before" || when == "after") && slices.Contains(All(), Point(point))
}
