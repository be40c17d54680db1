package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the built binary as people do. A script starts a tower with
// `tower`, kills it with `killtower`, and finds it in $TOWER_HTTP and $TOWER_RELAY.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", filepath.Dir(binary)+string(os.PathListSeparator)+os.Getenv("PATH"))
			env.Setenv("TIMMY_DATA_DIR", filepath.Join(env.WorkDir, "data"))
			env.Values["tower"] = &tower{t: t, port: freePort(t), data: filepath.Join(env.WorkDir, "data"), log: &lockedBuffer{}}
			tw := env.Values["tower"].(*tower)
			env.Setenv("TIMMY_LISTEN", tw.http()[len("http://"):])
			env.Setenv("TOWER_HTTP", tw.http())
			env.Setenv("TOWER_RELAY", tw.relay())
			env.Defer(tw.kill)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"tower": func(ts *testscript.TestScript, _ bool, args []string) {
				tw := ts.Value("tower").(*tower)
				tw.env = args
				if err := tw.tryStart(); err != nil {
					ts.Fatalf("%v\n%s", err, tw.log.tail(40))
				}
			},
			"killtower": func(ts *testscript.TestScript, _ bool, _ []string) { ts.Value("tower").(*tower).kill() },
			"stoptower": func(ts *testscript.TestScript, _ bool, _ []string) {
				tw := ts.Value("tower").(*tower)
				tw.t = t
				if code := tw.stop(); code != 0 {
					ts.Fatalf("exit code %d\n%s", code, tw.log.tail(40))
				}
			},
			// payline FILE pays the first invoice that appears in a file.
			"payline": func(ts *testscript.TestScript, _ bool, args []string) {
				line := regexp.MustCompile(`lnbcrt[0-9a-z]+`)
				for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
					text, err := os.ReadFile(ts.MkAbs(args[0]))
					if bolt11 := line.FindString(string(text)); err == nil && bolt11 != "" {
						ts.Check(ts.Exec("timmy", "pay", bolt11))
						return
					}
				}
				ts.Fatalf("no invoice in %s", args[0])
			},
		},
	})
}
