// tgi stands in for text-generation-launcher where there is no GPU: its command line, checks, start, metrics and
// shutdown in front of llm-d-inference-sim, which makes up the answers.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	version          = "3.0.1"
	defaultModel     = "bigscience/bloom-560m"
	driverFile       = "/run/nvidia-lab/gpus.json"
	simulatorProgram = "llm-d-inference-sim"
	simulatorPort    = "18000"
	simulatorSeconds = 20
	seats            = 32
	gracefulTime     = 90 * time.Second // fixed in this release
)

func main() {
	parsed, err := parse(os.Args[1:], os.Getenv)
	if err == nil {
		var gpus int
		if gpus, err = visibleGPUs(os.ReadFile, os.Getenv("NVIDIA_VISIBLE_DEVICES")); err == nil {
			if err = validate(parsed, gpus); err == nil {
				err = run(parsed)
			}
		}
	}
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, err)
	if errors.As(err, &usageError{}) {
		os.Exit(2)
	}
	os.Exit(1)
}

// visibleGPUs counts the GPUs that the container sees: the driver's, chosen by NVIDIA_VISIBLE_DEVICES.
func visibleGPUs(read func(string) ([]byte, error), visible string) (int, error) {
	driver, err := read(driverFile)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil // no driver in this container: not of the runtime class `nvidia`
	}
	if err != nil {
		return 0, err
	}
	var node struct {
		GPUs []struct {
			Index int    `json:"index"`
			UUID  string `json:"uuid"`
		} `json:"gpus"`
	}
	if err := json.Unmarshal(driver, &node); err != nil {
		return 0, err
	}
	count := 0
	for _, gpu := range node.GPUs {
		chosen := strings.Split(visible, ",")
		if visible == "all" || slices.Contains(chosen, gpu.UUID) || slices.Contains(chosen, fmt.Sprint(gpu.Index)) {
			count++
		}
	}
	return count, nil
}

func run(a arguments) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	model := a.text("--model-id", defaultModel)
	simulator := exec.Command(
		simulatorProgram, "--model", model, "--port", simulatorPort, "--force-dummy-tokenizer",
		"--max-num-seqs", strconv.Itoa(seats), "--max-model-len", strconv.Itoa(a.number("--max-total-tokens", 4096)),
		"--served-model-name", model, "--time-to-first-token=100ms", "--inter-token-latency=20ms",
	)
	simulator.Stderr = os.Stderr
	if err := simulator.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- simulator.Wait() }()
	ready := make(chan error, 1)
	go func() { ready <- started() }()
	select {
	case <-signals:
		return nil
	case err := <-ended:
		return fmt.Errorf("ShardCannotStart: %v", err)
	case err := <-ready:
		if err != nil {
			return err
		}
	}
	front := newServer(a, &url.URL{Scheme: "http", Host: "127.0.0.1:" + simulatorPort})
	listener, err := net.Listen("tcp", net.JoinHostPort(a.text("--hostname", "0.0.0.0"), a.text("--port", "3000")))
	if err != nil {
		return err
	}
	fmt.Println("INFO text_generation_router::server: Connected")
	failed := make(chan error, 1)
	go func() { failed <- http.Serve(listener, front) }()
	select {
	case err := <-failed:
		return err
	case err := <-ended:
		return fmt.Errorf("ShardFailed: %v", err)
	case <-signals:
		fmt.Println("INFO text_generation_launcher: Terminating webserver")
		listener.Close()
		front.drain(gracefulTime)
		return nil
	}
}

// started returns when the model is loaded: after the time that LAB_TGI_STARTUP_SECONDS sets.
func started() error {
	seconds, err := strconv.ParseFloat(os.Getenv("LAB_TGI_STARTUP_SECONDS"), 64)
	if err != nil {
		seconds = 2
	}
	time.Sleep(time.Duration(seconds * float64(time.Second)))
	for until := time.Now().Add(simulatorSeconds * time.Second); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		if answer, err := http.Get("http://127.0.0.1:" + simulatorPort + "/health"); err == nil {
			answer.Body.Close()
			return nil
		}
	}
	return fmt.Errorf("ShardCannotStart: the simulator does not answer within %d s", simulatorSeconds)
}
