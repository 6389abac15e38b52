package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/botsession/botsession/cmd/botsession/internal/metrics"
)

func newExporter(e *env) *cobra.Command {
	listen := ""
	cmd := &cobra.Command{
		Use:   "exporter",
		Short: "Serve the figures of all bots to Prometheus",
		Long: `Serve the figures of all bots at /metrics, in the text format of Prometheus,
until ctrl-C. It needs no replica: what it serves is read from the server at each
request, so leave some seconds between two. Its user needs the right to look.`,
		Example: `  botsession exporter --listen :9090`,
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return e.export(cmd.Context(), listen) },
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:9090", "`address` to serve at")
	return cmd
}

func (e *env) export(ctx context.Context, listen string) error {
	st, err := e.open(ctx, true)
	if err != nil {
		return err
	}
	defer st.Close()
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return failed(err, "another address: --listen HOST:PORT")
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics.Handler(metrics.Fleet(st)))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	defer context.AfterFunc(ctx, func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if server.Shutdown(end) != nil {
			server.Close()
		}
	})()
	fmt.Fprintf(e.err, "http://%s/metrics\n", listener.Addr())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
