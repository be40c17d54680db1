package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

type versionView struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Dirty    bool   `json:"dirty,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Tags     string `json:"tags,omitempty"`
}

// currentVersion is what the linker recorded: a release has a module version, a
// build from a checkout a revision.
func currentVersion() versionView {
	v := versionView{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Dirty = s.Value == "true"
		case "-tags":
			v.Tags = s.Value
		}
	}
	return v
}

func versionCommand(Env) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := currentVersion()
			return emit(cmd, v, func(w io.Writer) {
				fmt.Fprintf(w, "timmy %s %s %s\n", v.Version, v.Go, v.Platform)
				if v.Revision != "" {
					fmt.Fprintln(w, "revision", v.Revision)
				}
				if v.Tags != "" {
					fmt.Fprintln(w, "tags", v.Tags)
				}
			})
		},
	}
}
