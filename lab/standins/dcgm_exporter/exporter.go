package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
)

// exporter answers over HTTP what the GPUs of the driver file do.
type exporter struct {
	http.ServeMux
	options  *options
	counters []counter
	driver   string
	settings settings

	mutex  sync.Mutex
	energy map[string]float64 // mJ by UUID, up to `at`
	at     time.Time
}

func newExporter(o *options, counters []counter, driver string) (*exporter, error) {
	host := o.nodeName
	if host == "" {
		found, err := os.Hostname()
		if err != nil {
			return nil, err
		}
		host = found
	}
	if o.noHostname {
		host = ""
	}
	named := slices.ContainsFunc(counters, func(c counter) bool { return c.field == driverVersionField })
	e := &exporter{
		options:  o,
		counters: counters,
		driver:   driver,
		settings: settings{host, o.virtualGPUs, o.dashedNames, named},
		energy:   map[string]float64{},
		at:       time.Now(),
	}
	e.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "KO") }) // as NVIDIA's says it
	e.HandleFunc("/metrics", e.metrics)
	return e, nil
}

func (e *exporter) metrics(w http.ResponseWriter, _ *http.Request) {
	samples, named, err := e.collect(time.Now())
	if err != nil {
		slog.Error("Failed to gather metrics from collectors", "error", err)
		http.Error(w, "internal server error", http.StatusInternalServerError)
		return
	}
	var buffer bytes.Buffer
	render(&buffer, e.counters, samples, named, e.settings)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Write(buffer.Bytes())
}

// collect gives what each GPU does at `now`, and the containers that its series name: none without -kubernetes.
func (e *exporter) collect(now time.Time) ([]sample, map[string][]holder, error) {
	text, err := os.ReadFile(e.driver)
	if err != nil {
		return nil, nil, err
	}
	gpus, err := parseDriver(text)
	if err != nil {
		return nil, nil, err
	}
	held, err := holders(e.options.socket, e.options.resources)
	if err != nil {
		slog.Warn("Failed to get pod mappings", "error", err) // the scrape goes on without them
	}
	e.mutex.Lock()
	defer e.mutex.Unlock()
	passed := max(now.Sub(e.at), 0)
	e.at = e.at.Add(passed)
	var samples []sample
	for _, g := range gpus {
		// Values stay as they are for the interval, as those that DCGM has sampled do.
		s := newSample(g, len(held[g.UUID]) > 0, now.Truncate(time.Duration(e.options.intervalMS)*time.Millisecond))
		e.energy[g.UUID] += s.power() * passed.Seconds() * 1000
		s.energy = e.energy[g.UUID]
		samples = append(samples, s)
	}
	if !e.options.kubernetes {
		held = nil
	}
	return samples, held, nil
}
