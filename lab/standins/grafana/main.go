// grafana stands in for Grafana's server, whose program is in no package registry: it reads the same provisioning
// files and environment, ends where Grafana ends, and answers the part of its HTTP API by which one sees what is
// provisioned and queries a data source. There are no pages.
package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stdout, nil)))
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		os.Exit(0)
	}()
	if err := run(); err != nil {
		slog.Error(err.Error())
		os.Exit(1)
	}
}

func run() error {
	s, err := readSettings(os.Environ())
	if err != nil {
		return err
	}
	if err := writable(s.data); err != nil {
		return fmt.Errorf("GF_PATHS_DATA='%s' is not writable: %w", s.data, err)
	}
	found, err := provision(s.provisioning)
	if err != nil {
		return err
	}
	slog.Info("HTTP Server Listen (the lab's stand-in)", "address", s.address, "datasources", len(found.sources), "dashboards", len(found.dashboards))
	return http.ListenAndServe(s.address, newServer(s, found))
}

func writable(folder string) error {
	file, err := os.CreateTemp(folder, "grafana-")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	return file.Close()
}

// settings are those of Grafana's that mean something here; any other GF_ variable is taken without effect.
type settings struct {
	address        string
	data           string
	provisioning   string
	user, password string
	anonymous      bool
}

// readSettings reads GF_<SECTION>_<KEY>, or from the file that GF_<SECTION>_<KEY>__FILE names.
func readSettings(environment []string) (*settings, error) {
	values := map[string]string{}
	for _, variable := range environment {
		name, value, _ := strings.Cut(variable, "=")
		values[name] = value
	}
	for name, path := range values {
		plain, fromFile := strings.CutSuffix(name, "__FILE")
		if !fromFile || !strings.HasPrefix(name, "GF_") || path == "" {
			continue
		}
		if values[plain] != "" {
			return nil, fmt.Errorf("ERROR: Both %s and %s are set (but are exclusive)", plain, name)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		values[plain] = strings.TrimRight(string(text), "\n")
	}
	value := func(name, standard string) string {
		if values[name] != "" {
			return values[name]
		}
		return standard
	}
	if section := value("GF_DATABASE_TYPE", "sqlite3"); section != "sqlite3" {
		return nil, errors.New("the lab's stand-in keeps nothing: GF_DATABASE_TYPE can only be sqlite3")
	}
	data := value("GF_PATHS_DATA", "/var/lib/grafana")
	return &settings{
		address:      value("GF_SERVER_HTTP_ADDR", "") + ":" + value("GF_SERVER_HTTP_PORT", "3000"),
		data:         filepath.Clean(data),
		provisioning: value("GF_PATHS_PROVISIONING", "/etc/grafana/provisioning"),
		user:         value("GF_SECURITY_ADMIN_USER", "admin"),
		password:     value("GF_SECURITY_ADMIN_PASSWORD", "admin"),
		anonymous:    value("GF_AUTH_ANONYMOUS_ENABLED", "false") == "true",
	}, nil
}
