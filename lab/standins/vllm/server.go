package main

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

const version = "0.33.0"

// server is vLLM's front: keys, request ids, refusals; what is behind it answers.
type server struct {
	simulator  *url.URL
	model      string
	keys       []string
	requestIDs bool
	logIDs     bool
	accessLog  bool
	seats      int  // requests that the engine works on at the same time; others wait
	atOnce     int  // requests taken at the same time; 0 for any number
	madeUp     bool // the simulator was told what its metrics say
	inFlight   atomic.Int64
	draining   atomic.Bool
	proxy      *httputil.ReverseProxy
}

func newServer(a *arguments, model string, keys []string, simulator *url.URL) *server {
	s := &server{
		simulator:  simulator,
		model:      model,
		keys:       keys,
		seats:      a.number("max_num_seqs", defaultSequences),
		madeUp:     strings.Contains(os.Getenv(simulatorFlags), "--fake-metrics"),
		requestIDs: a.on("enable_request_id_headers"),
		logIDs:     a.on("enable_log_requests"),
		accessLog:  !a.on("disable_uvicorn_access_log") && !slices.Contains([]string{"warning", "error", "critical"}, a.text("uvicorn_log_level", "info")),
	}
	if queued := a.number("max_num_queued_reqs", -1); queued >= 0 {
		s.atOnce = s.seats + queued
	}
	s.proxy = httputil.NewSingleHostReverseProxy(simulator)
	s.proxy.FlushInterval = -1 // each token as it comes
	return s
}

// inference says whether a request makes the engine work.
func inference(r *http.Request) bool {
	return r.Method == http.MethodPost
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := &recorder{ResponseWriter: w, status: http.StatusOK}
	if s.accessLog {
		defer func() {
			fmt.Printf("INFO:     %s - \"%s %s %s\" %d %s\n", r.RemoteAddr, r.Method, r.URL.RequestURI(), r.Proto, answer.status, http.StatusText(answer.status))
		}()
	}
	if s.requestIDs {
		id := r.Header.Get("X-Request-Id")
		if id == "" {
			id = newID()
			r.Header.Set("X-Request-Id", id)
		}
		answer.Header().Set("X-Request-Id", id)
	}
	if !s.allowed(r) {
		writeJSON(answer, http.StatusUnauthorized, map[string]string{"error": "Unauthorized"}) // not in OpenAI's form
		return
	}
	switch r.URL.Path {
	case "/ping":
		return
	case "/version":
		writeJSON(answer, http.StatusOK, map[string]string{"version": version})
		return
	case "/load":
		writeJSON(answer, http.StatusOK, map[string]int64{"server_load": s.inFlight.Load()})
		return
	case "/metrics":
		s.metrics(answer)
		return
	}
	if inference(r) {
		running := s.inFlight.Add(1)
		defer s.inFlight.Add(-1)
		if s.draining.Load() {
			refuse(answer, http.StatusServiceUnavailable, "The server is shutting down and takes no new requests.", "ServiceUnavailableError")
			return
		}
		if s.atOnce > 0 && running > int64(s.atOnce) {
			refuse(answer, http.StatusServiceUnavailable, "The server is overloaded: too many requests are queued.", "ServiceUnavailableError")
			return
		}
		if s.logIDs {
			fmt.Printf("INFO [logger.py] Received request %s.\n", r.Header.Get("X-Request-Id"))
		}
	}
	s.proxy.ServeHTTP(answer, r)
}

// allowed asks for the key where vLLM does: on the inference interfaces, not on /health, /metrics and the others.
func (s *server) allowed(r *http.Request) bool {
	guarded := slices.ContainsFunc([]string{"/v1", "/v2", "/inference", "/cohere"}, func(prefix string) bool {
		return strings.HasPrefix(r.URL.Path, prefix)
	})
	if len(s.keys) == 0 || !guarded || r.Method == http.MethodOptions {
		return true
	}
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return false
	}
	sum := sha256.Sum256([]byte(given))
	return slices.ContainsFunc(s.keys, func(key string) bool {
		wanted := sha256.Sum256([]byte(key))
		return subtle.ConstantTimeCompare(sum[:], wanted[:]) == 1
	})
}

func (s *server) metrics(w http.ResponseWriter) {
	found, err := http.Get(s.simulator.JoinPath("/metrics").String())
	if err != nil {
		refuse(w, http.StatusInternalServerError, err.Error(), "InternalServerError")
		return
	}
	defer found.Body.Close()
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	if err := rewriteMetrics(found.Body, w, s.model, s.load()); err != nil {
		fmt.Println("ERROR reading the simulator's metrics:", err)
	}
}

// load is what an autoscaler looks at. The simulator works a request off to its end, also when its client has gone;
// vLLM aborts it, so the requests are counted here.
func (s *server) load() map[string]int64 {
	if s.madeUp {
		return nil
	}
	all := s.inFlight.Load()
	running := min(all, int64(s.seats))
	return map[string]int64{"vllm:num_requests_running": running, "vllm:num_requests_waiting": all - running}
}

// drain waits until the requests in flight are answered, or for as long as `limit`; new ones are refused meanwhile.
func (s *server) drain(limit time.Duration) {
	s.draining.Store(true)
	for until := time.Now().Add(limit); time.Now().Before(until) && s.inFlight.Load() > 0; {
		time.Sleep(20 * time.Millisecond)
	}
}

func newID() string {
	id := make([]byte, 16)
	rand.Read(id)
	return hex.EncodeToString(id)
}

func refuse(w http.ResponseWriter, status int, message, kind string) {
	writeJSON(w, status, map[string]any{"error": map[string]any{"message": message, "type": kind, "param": nil, "code": status}})
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(value)
}

// recorder remembers the status for the access log, and lets a proxy flush through it.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
