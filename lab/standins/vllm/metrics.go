package main

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

//go:embed metrics.json
var metricsTable []byte

type metric struct {
	Name    string   `json:"name"`
	Kind    string   `json:"type"`
	Help    string   `json:"help"`
	Samples []string `json:"sample_names"`
	Labels  []string `json:"labels"`
}

// The simulator's names that vLLM has since changed.
var renamed = strings.NewReplacer(
	"vllm:time_per_output_token_seconds", "vllm:request_time_per_output_token_seconds",
	"finish_reason=", "finished_reason=",
)

// rewriteMetrics makes the simulator's metrics those of vLLM: renames what was renamed, drops what vLLM does not
// have, adds the label `engine`, gives what the simulator lacks the value 0, and what is in `known` the value there.
func rewriteMetrics(from io.Reader, to io.Writer, model string, known map[string]int64) error {
	var table []metric
	if err := json.Unmarshal(metricsTable, &table); err != nil {
		return err
	}
	real := map[string]*metric{}
	for i, m := range table {
		real[m.Name] = &table[i]
		for _, sample := range m.Samples {
			real[sample] = &table[i]
		}
	}
	seen := map[string]bool{}
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		line := renamed.Replace(lines.Text())
		if words := strings.Fields(line); strings.HasPrefix(line, "# ") && len(words) > 2 {
			if m := real[words[2]]; m != nil {
				seen[m.Name] = true
				fmt.Fprintln(to, line)
			}
			continue
		}
		name := line[:max(0, strings.IndexAny(line, "{ "))]
		m := real[name]
		if m == nil {
			continue
		}
		if slices.Contains(m.Labels, "engine") {
			line = strings.Replace(line, "{", `{engine="0",`, 1)
		}
		if value, is := known[name]; is {
			line = fmt.Sprintf("%s %d", line[:strings.LastIndex(line, " ")], value)
		}
		fmt.Fprintln(to, line)
	}
	for _, m := range table {
		plain := len(m.Labels) == 2 && slices.Contains(m.Labels, "engine") && slices.Contains(m.Labels, "model_name")
		if seen[m.Name] || !plain || (m.Kind != "counter" && m.Kind != "gauge") {
			continue
		}
		name := m.Name
		if m.Kind == "counter" {
			name += "_total"
		}
		fmt.Fprintf(to, "# HELP %s %s\n# TYPE %s %s\n%s{engine=\"0\",model_name=%q} 0\n", name, m.Help, name, m.Kind, name, model)
	}
	return lines.Err()
}
