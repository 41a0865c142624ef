package main

import (
	"io"
	"strings"
	"testing"
)

func TestFlagsGoBeforeTheEnvironment(t *testing.T) {
	environment := map[string]string{"DCGM_EXPORTER_LISTEN": ":1", "DCGM_EXPORTER_KUBERNETES": "true", "DCGM_EXPORTER_INTERVAL": "1000"}
	lookup := func(name string) string { return environment[name] }
	o, err := parseOptions([]string{"-a", ":2", "-f", "/counters.csv"}, lookup, io.Discard)
	if err != nil || o.address != ":2" || !o.kubernetes || o.intervalMS != 1000 || o.collectors != "/counters.csv" {
		t.Errorf("%+v %v", o, err)
	}
	o, err = parseOptions(nil, lookup, io.Discard)
	if err != nil || o.address != ":1" || o.collectors != defaultCountersFile {
		t.Errorf("%+v %v", o, err)
	}
}

func TestRefusedOptions(t *testing.T) {
	for line, want := range map[string]string{
		"--privileged":           "flag provided but not defined: -privileged",
		"-c soon":                "not a number of milliseconds",
		"-c 0":                   "not a number of milliseconds",
		"--kubernetes=sometimes": "invalid boolean value",
	} {
		if _, err := parseOptions(strings.Fields(line), func(string) string { return "" }, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, not %q", line, err, want)
		}
	}
	always := func(name string) string { return map[string]string{"DCGM_EXPORTER_KUBERNETES": "yes please"}[name] }
	if _, err := parseOptions(nil, always, io.Discard); err == nil || !strings.Contains(err.Error(), "DCGM_EXPORTER_KUBERNETES") {
		t.Error(err)
	}
}

func TestCountersFile(t *testing.T) {
	read, err := parseCounters(strings.NewReader("# comment\n\nDCGM_FI_DEV_GPU_UTIL ,  gauge, Utilization (in %).\nDCGM_FI_PROF_DRAM_ACTIVE, gauge, x\n"))
	if err != nil || len(read) != 1 || read[0] != (counter{"DCGM_FI_DEV_GPU_UTIL", "gauge", "Utilization (in %)."}) {
		t.Errorf("%v %v", read, err)
	}
	for text, want := range map[string]string{
		"DCGM_FI_DEV_GPU_UTIL, gauge":       "expected 3 fields",
		"DCGM_FI_DEV_GPU_UTIL, level, x":    "could not find Prometheus metric type 'level'",
		"DCGM_FI_DEV_GPU_UTILS, gauge, x":   "could not find DCGM field",
		"DCGM_FI_DEV_GPU_UTIL, gauge, a, b": "expected 3 fields",
	} {
		if _, err := parseCounters(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, not %q", text, err, want)
		}
	}
}
