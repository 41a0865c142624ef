package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// written lays files out below a folder of their own, which it gives.
func written(t *testing.T, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, text := range files {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "FOLDER", folder)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

const (
	sourceFile   = "apiVersion: 1\ndatasources:\n- {name: Prometheus, uid: prometheus, type: prometheus, url: $PROMETHEUS_URL, isDefault: true}\n"
	providerFile = "apiVersion: 1\nproviders:\n- {name: llm, folder: LLM, type: file, options: {path: FOLDER/boards}}\n"
)

// started serves what the files provision, with the password `right`.
func started(t *testing.T, files map[string]string, environment ...string) *server {
	t.Helper()
	found, err := provision(written(t, files))
	if err != nil {
		t.Fatal(err)
	}
	s, err := readSettings(append(environment, "GF_SECURITY_ADMIN_PASSWORD=right"))
	if err != nil {
		t.Fatal(err)
	}
	return newServer(s, found)
}

func get(s *server, path, password string) (int, string) {
	request := httptest.NewRequest("GET", path, nil)
	if password != "" {
		request.SetBasicAuth("admin", password)
	}
	answer := httptest.NewRecorder()
	s.ServeHTTP(answer, request)
	return answer.Code, answer.Body.String()
}

func TestOnlyWhoSignsInSeesAnything(t *testing.T) {
	files := map[string]string{"datasources/a.yaml": sourceFile}
	closed, open := started(t, files), started(t, files, "GF_AUTH_ANONYMOUS_ENABLED=true")
	for _, c := range []struct {
		server         *server
		path, password string
		status         int
	}{
		{closed, "/api/health", "", 200},
		{closed, "/login", "", 200},
		{closed, "/", "", 302},
		{closed, "/api/search", "", 401},
		{closed, "/api/search", "admin", 401},
		{closed, "/api/search", "right", 200},
		{closed, "/api/datasources", "right", 200},
		{closed, "/api/annotations", "", 401},
		{closed, "/api/annotations", "right", 501},
		{open, "/api/search", "", 200},
		{open, "/api/search", "wrong", 401},
		{open, "/api/datasources", "", 401},
		{open, "/api/datasources/uid/prometheus", "", 401},
	} {
		if status, text := get(c.server, c.path, c.password); status != c.status {
			t.Errorf("%s with %q: %d, not %d: %s", c.path, c.password, status, c.status, text)
		}
	}
}

func TestWhatIsProvisionedIsServed(t *testing.T) {
	var asked []string
	prometheus := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path+"?"+r.URL.RawQuery+r.Header.Get("Authorization"))
		w.Write([]byte("queried"))
	}))
	defer prometheus.Close()
	t.Setenv("PROMETHEUS_URL", prometheus.URL+"/")
	s := started(t, map[string]string{
		"datasources/a.yaml":     sourceFile,
		"dashboards/a.yml":       providerFile,
		"boards/llm.json":        `{"uid": "llm", "title": "Models", "panels": []}`,
		"boards/..data/llm.json": `{"uid": "hidden", "title": "Models", "panels": []}`,
		"boards/broken.json":     `{"uid": "broken"`,
		"boards/untitled.json":   `{"uid": "untitled"}`,
		"boards/badly.json":      `{"uid": "of more than forty characters, and blanks", "title": "x"}`,
		"boards/readme.md":       "no dashboard",
	})
	if _, text := get(s, "/api/search", "right"); text != `[{"folderTitle":"LLM","title":"Models","type":"dash-db","uid":"llm","url":"/d/llm"}]`+"\n" {
		t.Error(text)
	}
	if _, text := get(s, "/api/search?query=gpu", "right"); text != "[]\n" {
		t.Error(text)
	}
	if status, text := get(s, "/api/dashboards/uid/llm", "right"); status != 200 || !strings.Contains(text, `"panels":[]`) || !strings.Contains(text, `"provisioned":true`) {
		t.Error(status, text)
	}
	if status, _ := get(s, "/api/dashboards/uid/broken", "right"); status != 404 {
		t.Error(status)
	}
	if status, text := get(s, "/api/datasources/uid/prometheus", "right"); status != 200 || !strings.Contains(text, prometheus.URL) {
		t.Error(status, text)
	}
	if status, text := get(s, "/api/datasources/uid/prometheus/health", "right"); status != 200 || !strings.Contains(text, `"OK"`) {
		t.Error(status, text)
	}
	if status, text := get(s, "/api/datasources/proxy/uid/prometheus/api/v1/query?query=up", "right"); status != 200 || text != "queried" {
		t.Error(status, text)
	}
	if strings.Join(asked, " ") != "/api/v1/query?query=1%2B1 /api/v1/query?query=up" {
		t.Error(asked)
	}
	if status, _ := get(s, "/api/datasources/proxy/uid/other/api/v1/query", "right"); status != 404 {
		t.Error(status)
	}
	prometheus.Close()
	if status, text := get(s, "/api/datasources/uid/prometheus/health", "right"); status != 400 || !strings.Contains(text, "ERROR") {
		t.Error(status, text)
	}
}

func TestEndsWhereGrafanaEnds(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"two defaults":  {"datasources/b.yaml", strings.ReplaceAll(sourceFile, "uid: prometheus", "uid: other"), "Only one datasource per organization"},
		"uid taken":     {"datasources/b.yaml", strings.ReplaceAll(sourceFile, "isDefault: true", "isDefault: false"), `uid "prometheus" is taken`},
		"no type":       {"datasources/b.yaml", "apiVersion: 1\ndatasources: [{name: x}]", "both are required"},
		"no YAML":       {"datasources/b.yaml", "apiVersion: [", "Datasource provisioning error"},
		"no version":    {"dashboards/b.yaml", "providers: []", "apiVersion 1 only"},
		"empty":         {"dashboards/b.yaml", "", "apiVersion 1 only"},
		"no path":       {"dashboards/b.yaml", "apiVersion: 1\nproviders: [{name: x, type: file}]", "path param is not a string"},
		"not of a file": {"dashboards/b.yaml", "apiVersion: 1\nproviders: [{name: x, type: git, options: {path: /x}}]", "type git is not supported"},
	} {
		_, err := provision(written(t, map[string]string{"datasources/a.yaml": sourceFile, c.file: c.text}))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, not %q", name, err, c.want)
		}
	}
}

func TestVariablesAreFilledIn(t *testing.T) {
	t.Setenv("PROMETHEUS_URL", "http://p")
	found, err := provision(written(t, map[string]string{"datasources/a.yaml": strings.ReplaceAll(sourceFile, "name: Prometheus", `name: "${PROMETHEUS_URL}-$$X"`)}))
	if err != nil || found.sources[0].URL != "http://p" || found.sources[0].Name != "http://p-$X" {
		t.Errorf("%+v %v", found, err)
	}
}

func TestPasswordFromAFile(t *testing.T) {
	file := filepath.Join(written(t, map[string]string{"password": "secret\n"}), "password")
	s, err := readSettings([]string{"GF_SECURITY_ADMIN_PASSWORD__FILE=" + file})
	if err != nil || s.password != "secret" || s.anonymous || s.address != ":3000" {
		t.Errorf("%+v %v", s, err)
	}
	if _, err := readSettings([]string{"GF_SECURITY_ADMIN_PASSWORD__FILE=" + file, "GF_SECURITY_ADMIN_PASSWORD=x"}); err == nil || !strings.Contains(err.Error(), "exclusive") {
		t.Error(err)
	}
	if _, err := readSettings([]string{"GF_SECURITY_ADMIN_PASSWORD__FILE=/nowhere"}); err == nil {
		t.Error("a file that is not there")
	}
}

func TestDataMustBeWritable(t *testing.T) {
	if err := writable(t.TempDir()); err != nil {
		t.Error(err)
	}
	if err := writable("/proc"); err == nil {
		t.Error("/proc is writable")
	}
}
