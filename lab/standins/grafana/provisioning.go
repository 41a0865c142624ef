package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// source is a data source; the keys are those of its provisioning file and of the API.
type source struct {
	Name      string         `yaml:"name" json:"name"`
	UID       string         `yaml:"uid" json:"uid"`
	Type      string         `yaml:"type" json:"type"`
	Access    string         `yaml:"access" json:"access"`
	URL       string         `yaml:"url" json:"url"`
	IsDefault bool           `yaml:"isDefault" json:"isDefault"`
	Editable  bool           `yaml:"editable" json:"-"`
	JSONData  map[string]any `yaml:"jsonData" json:"jsonData"`
}

type provider struct {
	Name    string `yaml:"name"`
	Type    string `yaml:"type"`
	Folder  string `yaml:"folder"`
	Options struct {
		Path string `yaml:"path"`
	} `yaml:"options"`
}

type dashboard struct {
	uid, title, folder string
	model              map[string]any
}

type provisioned struct {
	sources    []source
	dashboards []dashboard
}

// provision reads the folder of provisioning files. What Grafana ends for is an error; what it goes on without is left
// out with a line in the log.
func provision(folder string) (*provisioned, error) {
	found := &provisioned{}
	err := eachFile(filepath.Join(folder, "datasources"), func(path string, text []byte) error {
		var file struct {
			APIVersion  int      `yaml:"apiVersion"`
			Datasources []source `yaml:"datasources"`
		}
		if err := decode(path, text, &file, &file.APIVersion); err != nil {
			return err
		}
		found.sources = append(found.sources, file.Datasources...)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("Datasource provisioning error: %w", err)
	}
	if err := checkSources(found.sources); err != nil {
		return nil, fmt.Errorf("Datasource provisioning error: %w", err)
	}
	var providers []provider
	err = eachFile(filepath.Join(folder, "dashboards"), func(path string, text []byte) error {
		var file struct {
			APIVersion int        `yaml:"apiVersion"`
			Providers  []provider `yaml:"providers"`
		}
		if err := decode(path, text, &file, &file.APIVersion); err != nil {
			return err
		}
		providers = append(providers, file.Providers...)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("Dashboard provisioning error: %w", err)
	}
	for _, p := range providers {
		read, err := readDashboards(p)
		if err != nil {
			return nil, fmt.Errorf("Dashboard provisioning error: %w", err)
		}
		found.dashboards = append(found.dashboards, read...)
	}
	return found, nil
}

// eachFile calls `read` with each YAML file of a folder; without the folder Grafana goes on.
func eachFile(folder string, read func(path string, text []byte) error) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		slog.Error("can't read provisioning files from directory", "path", folder, "error", err)
		return nil
	}
	for _, entry := range entries {
		if extension := filepath.Ext(entry.Name()); extension != ".yaml" && extension != ".yml" {
			continue
		}
		path := filepath.Join(folder, entry.Name())
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := read(path, text); err != nil {
			return err
		}
	}
	return nil
}

// decode reads YAML with the environment's variables filled in, of version 1 of the format.
func decode(path string, text []byte, into any, version *int) error {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	expand(&document)
	if err := document.Decode(into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if *version != 1 {
		return fmt.Errorf("%s: the lab's stand-in reads apiVersion 1 only, not %d", path, *version)
	}
	return nil
}

// expand fills $NAME and ${NAME} in as Grafana does; $$ is a dollar.
func expand(node *yaml.Node) {
	if node.Kind == yaml.ScalarNode && node.Tag == "!!str" {
		node.Value = os.Expand(node.Value, func(name string) string {
			if name == "$" {
				return "$"
			}
			return os.Getenv(name)
		})
	}
	for _, inner := range node.Content {
		expand(inner)
	}
}

func checkSources(sources []source) error {
	defaults := 0
	for i := range sources {
		s := &sources[i]
		if s.Name == "" || s.Type == "" {
			return fmt.Errorf("data source %d has name %q and type %q: both are required", i+1, s.Name, s.Type)
		}
		if s.IsDefault {
			defaults++
		}
		if s.Access == "" {
			s.Access = "proxy"
		}
		if s.UID == "" {
			s.UID = "P" + strings.ToUpper(s.Name)
		}
		if slices.ContainsFunc(sources[:i], func(other source) bool { return other.UID == s.UID }) {
			return fmt.Errorf("data source %q: uid %q is taken", s.Name, s.UID)
		}
	}
	if defaults > 1 {
		return errors.New("datasource.yaml config is invalid. Only one datasource per organization can be marked as default")
	}
	return nil
}

// readDashboards reads a provider's folder: a file that is no dashboard is left out, as in Grafana.
func readDashboards(p provider) ([]dashboard, error) {
	if p.Type != "" && p.Type != "file" {
		return nil, fmt.Errorf("type %s is not supported", p.Type)
	}
	if p.Options.Path == "" {
		return nil, errors.New("failed to load dashboards, path param is not a string")
	}
	var found []dashboard
	err := filepath.WalkDir(p.Options.Path, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		// A mounted ConfigMap has its files a second time below `..data`.
		if entry.IsDir() && strings.HasPrefix(entry.Name(), ".") {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".json" {
			return nil
		}
		read, err := readDashboard(path)
		if err != nil {
			slog.Error("failed to load dashboard from ", "file", path, "error", err)
			return nil
		}
		if slices.ContainsFunc(found, func(other dashboard) bool { return other.uid == read.uid }) {
			slog.Error("the same UID is used more than once", "uid", read.uid, "provider", p.Name)
			return nil
		}
		read.folder = p.Folder
		found = append(found, *read)
		return nil
	})
	if err != nil {
		slog.Error("failed to search for dashboards", "error", err)
	}
	return found, nil
}

func readDashboard(path string) (*dashboard, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	model := map[string]any{}
	if err := json.Unmarshal(text, &model); err != nil {
		return nil, err
	}
	title, _ := model["title"].(string)
	if title == "" {
		return nil, errors.New("Dashboard title cannot be empty")
	}
	uid, _ := model["uid"].(string)
	if len(uid) > 40 || strings.ContainsFunc(uid, func(r rune) bool { return !strings.ContainsRune(uidCharacters, r) }) {
		return nil, fmt.Errorf("uid %q: up to 40 of letters, digits, `-` and `_`", uid)
	}
	if uid == "" {
		uid = strings.TrimSuffix(filepath.Base(path), ".json") // Grafana makes one up
	}
	model["uid"] = uid
	return &dashboard{uid: uid, title: title, model: model}, nil
}

const uidCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
