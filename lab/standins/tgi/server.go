package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"time"
)

// server is the router's front; what is behind it answers.
type server struct {
	model    string
	atOnce   int64 // requests taken at the same time
	seats    int64 // requests that a batch has room for; others wait
	inFlight atomic.Int64
	taken    atomic.Int64
	answered atomic.Int64
	refused  atomic.Int64
	proxy    *httputil.ReverseProxy
}

func newServer(a arguments, simulator *url.URL) *server {
	s := &server{
		model:  a.text("--model-id", defaultModel),
		atOnce: int64(a.number("--max-concurrent-requests", 128)),
		seats:  int64(seats),
		proxy:  httputil.NewSingleHostReverseProxy(simulator),
	}
	s.proxy.FlushInterval = -1 // each token as it comes
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "GET /", "GET /health", "GET /ping":
	case "GET /metrics":
		s.metrics(w)
	case "GET /info":
		writeJSON(w, http.StatusOK, map[string]any{"model_id": s.model, "version": version, "router": "text-generation-router"})
	case "GET /v1/models":
		entry := map[string]any{"id": s.model, "object": "model", "created": 0, "owned_by": s.model}
		writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": []any{entry}})
	case "POST /v1/chat/completions", "POST /v1/completions":
		s.generate(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (s *server) generate(w http.ResponseWriter, r *http.Request) {
	s.taken.Add(1)
	running := s.inFlight.Add(1)
	defer s.inFlight.Add(-1)
	if running > s.atOnce {
		s.refused.Add(1)
		writeJSON(w, http.StatusTooManyRequests, map[string]string{"error": "Model is overloaded", "error_type": "overloaded"})
		return
	}
	body, err := io.ReadAll(r.Body)
	var request map[string]any
	if err == nil {
		err = json.Unmarshal(body, &request)
	}
	if err != nil {
		http.Error(w, fmt.Sprintf("Failed to parse the request body as JSON: %v", err), http.StatusBadRequest)
		return
	}
	// Any name is taken: one that is none of an adapter is the model itself.
	request["model"] = s.model
	if body, err = json.Marshal(request); err != nil {
		panic(err) // it was JSON before
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	s.proxy.ServeHTTP(w, r)
	s.answered.Add(1)
}

func (s *server) metrics(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	all := s.inFlight.Load()
	running := min(all, s.seats)
	for _, m := range []struct {
		name, kind, labels string
		value              int64
	}{
		{"tgi_queue_size", "gauge", "", all - running},
		{"tgi_batch_current_size", "gauge", "", running},
		{"tgi_request_count", "counter", "", s.taken.Load()},
		{"tgi_request_success", "counter", "", s.answered.Load()},
		{"tgi_request_failure", "counter", `{err="overloaded"}`, s.refused.Load()},
	} {
		fmt.Fprintf(w, "# TYPE %s %s\n%s%s %d\n\n", m.name, m.kind, m.name, m.labels, m.value)
	}
}

// drain waits until the requests in flight are answered, or for as long as `limit`.
func (s *server) drain(limit time.Duration) {
	for until := time.Now().Add(limit); time.Now().Before(until) && s.inFlight.Load() > 0; {
		time.Sleep(20 * time.Millisecond)
	}
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(value)
}
