package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// front is a server with these flags before something that answers everything.
func front(t *testing.T, flags string) *server {
	t.Helper()
	return before(t, flags, func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("answered")) })
}

// before is a server with these flags before `simulator`.
func before(t *testing.T, flags string, simulator http.HandlerFunc) *server {
	t.Helper()
	parsed, err := newParser().parse(strings.Fields(flags))
	if err != nil {
		t.Fatal(err)
	}
	behind := httptest.NewServer(simulator)
	t.Cleanup(behind.Close)
	address, err := url.Parse(behind.URL)
	if err != nil {
		t.Fatal(err)
	}
	return newServer(parsed, "m", apiKeys(parsed), address)
}

func TestKeysAreAskedForWhereVLLMAsks(t *testing.T) {
	s := front(t, "m --api-key right --enable-request-id-headers")
	for _, c := range []struct {
		method, path, authorization string
		status                      int
	}{
		{"POST", "/v1/chat/completions", "Bearer right", 200},
		{"GET", "/v1/models", "bearer right", 200},
		{"GET", "/v1/models", "", 401},
		{"GET", "/v1/models", "Bearer wrong", 401},
		{"GET", "/v1/models", "Basic right", 401},
		{"OPTIONS", "/v1/models", "", 200},
		{"POST", "/invocations", "", 200}, // full inference, and open
		{"GET", "/health", "", 200},
	} {
		request := httptest.NewRequest(c.method, c.path, nil)
		request.Header.Set("Authorization", c.authorization)
		answer := httptest.NewRecorder()
		s.ServeHTTP(answer, request)
		if answer.Code != c.status {
			t.Errorf("%s %s %q: %d, not %d", c.method, c.path, c.authorization, answer.Code, c.status)
		}
		// Not in OpenAI's form, unlike vLLM's other errors.
		if c.status == 401 && strings.TrimSpace(answer.Body.String()) != `{"error":"Unauthorized"}` {
			t.Errorf("401 says %s", answer.Body)
		}
		if answer.Header().Get("X-Request-Id") == "" {
			t.Errorf("%s: no request id", c.path)
		}
	}
}

func TestRequestsAreCountedAsLongAsTheirClientsAreThere(t *testing.T) {
	arrived, ended := make(chan bool, 8), make(chan bool)
	s := before(t, "m --max-num-seqs 2 --disable-uvicorn-access-log", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" {
			for _, name := range []string{"vllm:num_requests_running", "vllm:num_requests_waiting"} {
				fmt.Fprintf(w, "# TYPE %s gauge\n%s{model_name=\"m\"} 9\n", name, name)
			}
			return
		}
		arrived <- true
		<-ended // as the simulator, which does not look whether its client is there
	})
	t.Cleanup(func() { close(ended) })
	served := httptest.NewServer(s)
	defer served.Close()
	counted := func() string {
		answer := httptest.NewRecorder()
		s.ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
		found := ""
		for _, line := range strings.Split(answer.Body.String(), "\n") {
			if name, value, is := strings.Cut(line, `{engine="0",model_name="m"} `); is && (name == "vllm:num_requests_running" || name == "vllm:num_requests_waiting") {
				found += value
			}
		}
		return found
	}
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	for range 5 {
		request, err := http.NewRequestWithContext(ctx, "POST", served.URL+"/v1/completions", nil)
		if err != nil {
			t.Fatal(err)
		}
		go http.DefaultClient.Do(request)
		<-arrived
	}
	if got := counted(); got != "23" {
		t.Errorf("5 requests on 2 seats: running and waiting are %s", got)
	}
	leave()
	for until := time.Now().Add(5 * time.Second); counted() != "00" && time.Now().Before(until); {
		time.Sleep(10 * time.Millisecond) // the server learns of it by and by
	}
	if got := counted(); got != "00" {
		t.Errorf("without clients: running and waiting are %s", got)
	}
}
