package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/spf13/cobra"
)

// statusTimeout is well below the interval of container health checks.
const statusTimeout = 5 * time.Second

func statusCommand(env Env) *cobra.Command {
	quiet := false
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Ask the tower whether it is alive",
		Long:  "Ask the tower on its own address whether it is alive: exit code 0 if so, 3 if not.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadSettings(env, cmd)
			if err != nil {
				return err
			}
			url := "http://" + reachable(c.Tower.Listen) + "/healthz"
			if err := probe(cmd.Context(), url); err != nil {
				return &exitError{exit: exitUnreachable, err: err, hint: "start it with timmy run"}
			}
			if quiet {
				return nil
			}
			v := map[string]string{"status": "ok", "url": url}
			return emit(cmd, v, func(w io.Writer) { fmt.Fprintln(w, "ok", url) })
		},
	}
	addSettingFlags(cmd)
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print nothing; look at the exit code")
	return cmd
}

// reachable turns an address that is listened on into one that can be called.
func reachable(listen string) string {
	host, port, _ := net.SplitHostPort(listen)
	if ip, err := netip.ParseAddr(host); host == "" || (err == nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

func probe(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return fmt.Errorf("asking the tower: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking the tower: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, resp.Status)
	}
	return nil
}
