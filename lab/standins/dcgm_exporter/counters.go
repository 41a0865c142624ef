package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
)

// counter is one line of a counters file.
type counter struct {
	field string
	kind  string // `gauge`, `counter`, ..., or `label` for what goes onto every metric
	help  string
}

var kinds = []string{"gauge", "counter", "histogram", "summary", "untyped", "label"}

// parseCounters reads a counters file: field, type, help. As in NVIDIA's, profiling fields are left out with a line in
// the log where profiling is not to be had, and a field that is not known is an error.
func parseCounters(text io.Reader) ([]counter, error) {
	reader := csv.NewReader(text)
	reader.Comment = '#'
	reader.FieldsPerRecord = -1
	reader.TrimLeadingSpace = true
	var counters []counter
	for {
		record, err := reader.Read()
		if err == io.EOF {
			return counters, nil
		}
		if err != nil {
			return nil, err
		}
		line, _ := reader.FieldPos(0)
		if len(record) != 3 {
			return nil, fmt.Errorf("malformed CSV record; err: failed to parse line %d (`%v`), expected 3 fields", line, record)
		}
		read := counter{strings.TrimSpace(record[0]), strings.TrimSpace(record[1]), strings.TrimSpace(record[2])}
		if !slices.Contains(kinds, read.kind) {
			return nil, fmt.Errorf("could not find Prometheus metric type '%s'", read.kind)
		}
		if strings.HasPrefix(read.field, "DCGM_FI_PROF_") {
			slog.Warn(fmt.Sprintf("Skipping line %d ('%s'): metric not enabled", line, read.field))
			continue
		}
		if fields[read.field] == nil && read.field != driverVersionField {
			return nil, fmt.Errorf("could not find DCGM field; err: unknown to the lab's stand-in: '%s'", read.field)
		}
		counters = append(counters, read)
	}
}
