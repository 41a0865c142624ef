package main

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	version       = "12.4.4"
	healthTimeout = 10 * time.Second
)

type server struct {
	http.ServeMux
	settings *settings
	found    *provisioned
}

func newServer(s *settings, found *provisioned) *server {
	api := &server{settings: s, found: found}
	api.HandleFunc("GET /api/health", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"database": "ok", "version": version, "commit": "stand-in"})
	})
	api.HandleFunc("GET /login", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "<h1>The lab has no pages of Grafana, only its HTTP API</h1>")
	})
	api.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) })
	api.HandleFunc("GET /api/org", api.viewer(func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"id": 1, "name": "Main Org."})
	}))
	api.HandleFunc("GET /api/search", api.viewer(api.search))
	api.HandleFunc("GET /api/dashboards/uid/{uid}", api.viewer(api.dashboard))
	api.HandleFunc("GET /api/datasources", api.admin(func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, found.sources) }))
	api.HandleFunc("GET /api/datasources/uid/{uid}", api.admin(api.source))
	api.HandleFunc("GET /api/datasources/uid/{uid}/health", api.viewer(api.sourceHealth))
	api.HandleFunc("/api/datasources/proxy/uid/{uid}/{path...}", api.viewer(api.query))
	api.HandleFunc("/api/", api.viewer(func(w http.ResponseWriter, r *http.Request) {
		message(w, http.StatusNotImplemented, "the lab's stand-in does not have "+r.URL.Path)
	}))
	return api
}

func (s *server) viewer(next http.HandlerFunc) http.HandlerFunc {
	return s.signedIn(s.settings.anonymous, next)
}

func (s *server) admin(next http.HandlerFunc) http.HandlerFunc { return s.signedIn(false, next) }

// signedIn asks for the administrator's name and password, or nothing where `open`; a wrong one is refused even there.
func (s *server) signedIn(open bool, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		user, password, given := r.BasicAuth()
		right := same(user, s.settings.user) && same(password, s.settings.password)
		switch {
		case given && !right:
			message(w, http.StatusUnauthorized, "Invalid username or password")
		case !given && !open:
			message(w, http.StatusUnauthorized, "Unauthorized")
		default:
			next(w, r)
		}
	}
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func (s *server) search(w http.ResponseWriter, r *http.Request) {
	found := []map[string]any{}
	for _, d := range s.found.dashboards {
		if strings.Contains(strings.ToLower(d.title), strings.ToLower(r.URL.Query().Get("query"))) {
			found = append(found, map[string]any{"uid": d.uid, "title": d.title, "type": "dash-db", "url": "/d/" + d.uid, "folderTitle": d.folder})
		}
	}
	answer(w, http.StatusOK, found)
}

func (s *server) dashboard(w http.ResponseWriter, r *http.Request) {
	at := slices.IndexFunc(s.found.dashboards, func(d dashboard) bool { return d.uid == r.PathValue("uid") })
	if at < 0 {
		message(w, http.StatusNotFound, "Dashboard not found")
		return
	}
	d := s.found.dashboards[at]
	answer(w, http.StatusOK, map[string]any{"dashboard": d.model, "meta": map[string]any{"provisioned": true, "folderTitle": d.folder}})
}

// named gives the data source of the request's path, or answers 404.
func (s *server) named(w http.ResponseWriter, r *http.Request) (*source, bool) {
	at := slices.IndexFunc(s.found.sources, func(d source) bool { return d.UID == r.PathValue("uid") })
	if at < 0 {
		message(w, http.StatusNotFound, "Data source not found")
		return nil, false
	}
	return &s.found.sources[at], true
}

func (s *server) source(w http.ResponseWriter, r *http.Request) {
	if found, is := s.named(w, r); is {
		answer(w, http.StatusOK, found)
	}
}

// sourceHealth sends Prometheus the query that Grafana sends.
func (s *server) sourceHealth(w http.ResponseWriter, r *http.Request) {
	found, is := s.named(w, r)
	if !is {
		return
	}
	client := http.Client{Timeout: healthTimeout}
	reply, err := client.Get(strings.TrimSuffix(found.URL, "/") + "/api/v1/query?query=" + url.QueryEscape("1+1"))
	if err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"status": "ERROR", "message": err.Error()})
		return
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		answer(w, http.StatusBadRequest, map[string]string{"status": "ERROR", "message": reply.Status + " - There was an error returned querying the Prometheus API."})
		return
	}
	answer(w, http.StatusOK, map[string]string{"status": "OK", "message": "Successfully queried the Prometheus API."})
}

func (s *server) query(w http.ResponseWriter, r *http.Request) {
	found, is := s.named(w, r)
	if !is {
		return
	}
	target, err := url.Parse(found.URL)
	if err != nil {
		message(w, http.StatusBadGateway, err.Error())
		return
	}
	proxy := httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.Out.URL.Path = "/" + r.PathValue("path")
		p.Out.URL.RawPath = ""
		p.SetURL(target)
		p.Out.Header.Del("Authorization") // Grafana's password is not for the data source
	}}
	proxy.ServeHTTP(w, r)
}

func message(w http.ResponseWriter, status int, text string) {
	answer(w, status, map[string]any{"message": text, "statusCode": status})
}

func answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(value)
}
