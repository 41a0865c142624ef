package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// front is a server with these flags before something that answers everything.
func front(t *testing.T, flags string) *server {
	t.Helper()
	parsed, err := newParser().parse(strings.Fields(flags))
	if err != nil {
		t.Fatal(err)
	}
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("answered")) }))
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
