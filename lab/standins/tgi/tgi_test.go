package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

func nothing(string) string { return "" }

func TestTheCommandLineIsTheLaunchers(t *testing.T) {
	for words, told := range map[string]string{
		"--model-id=m --num-shard 2 --port=8080 -p=1": "cannot be used multiple times",
		"--model-id=m --disable-grammar-support":      "",
		"--modelid=m":                                 "unexpected argument '--modelid'",
		"--max-total-tokens=many":                     "invalid value 'many' for '--max-total-tokens'",
		"--quantize=int4":                             "[possible values: awq,",
		"--disable-grammar-support=true":              "unexpected value 'true'",
		"--model-id":                                  "a value is required for '--model-id'",
	} {
		_, err := parse(strings.Fields(words), nothing)
		if told == "" && err != nil || told != "" && (err == nil || !strings.Contains(err.Error(), told)) {
			t.Errorf("%s: %v, wanted %q", words, err, told)
		}
	}
}

func TestTheEnvironmentCountsWhereTheCommandLineIsSilent(t *testing.T) {
	a, err := parse([]string{"--port=8080"}, func(name string) string {
		return map[string]string{"PORT": "80", "MODEL_ID": "m"}[name]
	})
	if err != nil || a["--port"] != "8080" || a["--model-id"] != "m" {
		t.Fatal(a, err)
	}
}

func TestWhatTheLauncherRefusesIsRefused(t *testing.T) {
	for words, gpus := range map[string]int{
		"--max-input-tokens=8 --max-total-tokens=8": 1,
		"--num-shard=2":                                   1,
		"--num-shard=1":                                   0,
		"--num-shard=2 --quantize=exl2":                   2,
		"--quantize=awq --dtype=float16":                  1,
		"--max-batch-total-tokens=4 --max-total-tokens=8": 1,
	} {
		a, err := parse(strings.Fields(words), nothing)
		if err != nil {
			t.Fatal(err)
		}
		if validate(a, gpus) == nil {
			t.Errorf("%s on %d GPUs was taken", words, gpus)
		}
	}
	if err := validate(arguments{"--num-shard": "2", "--max-input-tokens": "7", "--max-total-tokens": "8"}, 2); err != nil {
		t.Error(err)
	}
}

func TestOnlyTheGPUsOfTheContainerCount(t *testing.T) {
	driver := func(string) ([]byte, error) {
		return []byte(`{"gpus":[{"index":0,"uuid":"a"},{"index":1,"uuid":"b"}]}`), nil
	}
	for visible, want := range map[string]int{"all": 2, "b": 1, "0,1": 2, "": 0} {
		if got, err := visibleGPUs(driver, visible); err != nil || got != want {
			t.Errorf("%q: %d %v, wanted %d", visible, got, err, want)
		}
	}
	if got, err := visibleGPUs(func(string) ([]byte, error) { return nil, os.ErrNotExist }, "all"); got != 0 || err != nil {
		t.Error(got, err)
	}
}

// front is a server with these flags before `simulator`.
func front(t *testing.T, words string, simulator http.HandlerFunc) *server {
	t.Helper()
	a, err := parse(strings.Fields(words), nothing)
	if err != nil {
		t.Fatal(err)
	}
	behind := httptest.NewServer(simulator)
	t.Cleanup(behind.Close)
	address, _ := url.Parse(behind.URL)
	return newServer(a, address)
}

func ask(s *server, method, path, body string) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	s.ServeHTTP(answer, httptest.NewRequest(method, path, strings.NewReader(body)))
	return answer
}

func TestAnyNameIsTheModel(t *testing.T) {
	s := front(t, "--model-id=owner/m", func(w http.ResponseWriter, r *http.Request) {
		var got struct{ Model string }
		json.NewDecoder(r.Body).Decode(&got)
		io.WriteString(w, got.Model)
	})
	if got := ask(s, "POST", "/v1/chat/completions", `{"model":"chat"}`); got.Body.String() != "owner/m" {
		t.Error(got.Body)
	}
	if got := ask(s, "GET", "/v1/models", ""); !strings.Contains(got.Body.String(), `"id":"owner/m"`) {
		t.Error(got.Body)
	}
}

func TestOnlyItsOwnPathsAreServed(t *testing.T) {
	s := front(t, "", func(http.ResponseWriter, *http.Request) { t.Error("was passed on") })
	for _, path := range []string{"/v1/embeddings", "/v1/responses", "/load"} {
		if got := ask(s, "POST", path, "{}"); got.Code != http.StatusNotFound {
			t.Error(path, got.Code)
		}
	}
}

func TestWhatIsTooMuchIsRefusedAndTheRestWaits(t *testing.T) {
	release := make(chan struct{})
	s := front(t, "--max-concurrent-requests=40", func(http.ResponseWriter, *http.Request) { <-release })
	done := make(chan int)
	for range 41 {
		go func() { done <- ask(s, "POST", "/v1/completions", "{}").Code }()
	}
	if code := <-done; code != http.StatusTooManyRequests {
		t.Error(code)
	}
	seen := ask(s, "GET", "/metrics", "").Body.String()
	for _, line := range []string{"tgi_queue_size 8\n", "tgi_batch_current_size 32\n", "tgi_request_failure{err=\"overloaded\"} 1\n"} {
		if !strings.Contains(seen, line) {
			t.Errorf("%q is not in\n%s", line, seen)
		}
	}
	go func() { time.Sleep(50 * time.Millisecond); close(release) }()
	s.drain(5 * time.Second)
	if left := s.inFlight.Load(); left != 0 {
		t.Errorf("%d requests were cut off", left)
	}
	for range 40 {
		if code := <-done; code != http.StatusOK {
			t.Error(code)
		}
	}
}
