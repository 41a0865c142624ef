// dcgm-exporter stands in for NVIDIA's: the same flags, environment, metrics, labels and failure without the driver,
// over GPUs that are only numbers in the lab's driver file. That file is in a container only with the runtime class
// `nvidia`, as the driver is. Which pod holds a GPU is asked of the real kubelet.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

const (
	driverFile          = "/run/nvidia-lab/gpus.json"
	defaultCountersFile = "/etc/dcgm-exporter/default-counters.csv"
)

func main() {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stdout, nil)))
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		os.Exit(0)
	}()
	options, err := parseOptions(os.Args[1:], os.Getenv, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = run(options)
	}
	slog.Error(err.Error())
	os.Exit(1)
}

func run(o *options) error {
	slog.Info("Starting dcgm-exporter (the lab's stand-in)")
	slog.Info("Attempting to initialize NVML library.")
	if _, err := os.Stat(driverFile); errors.Is(err, os.ErrNotExist) {
		slog.Error("Cannot init NVML library; err: ERROR_LIBRARY_NOT_FOUND")
		return errors.New("ERROR_LIBRARY_NOT_FOUND")
	}
	counters, err := readCounters(o.collectors)
	if err != nil {
		return err
	}
	e, err := newExporter(o, counters, driverFile)
	if err != nil {
		return err
	}
	slog.Info("Starting webserver", "address", o.address)
	return http.ListenAndServe(o.address, e)
}

func readCounters(path string) ([]counter, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("could not read metrics file '%s'; err: %w", path, err)
	}
	defer file.Close()
	return parseCounters(file)
}
