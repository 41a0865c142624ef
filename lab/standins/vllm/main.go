// vllm stands in for `vllm serve` where there is no GPU: vLLM's command line, checks, start, keys, metrics and
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
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	simulatorProgram = "llm-d-inference-sim"
	simulatorPort    = "18000"
	simulatorFlags   = "LAB_VLLM_SIMULATOR_FLAGS"
	simulatorSeconds = 20
	defaultSequences = 256
	defaultLength    = 32768
)

// pace is about that of an 8B model on a data centre's card: requests run for as long as users and autoscalers see.
var pace = []string{"--time-to-first-token=100ms", "--inter-token-latency=20ms"}

func main() {
	if len(os.Args) < 2 || os.Args[1] != "serve" {
		fmt.Fprintln(os.Stderr, "usage: vllm serve [model_tag] [options]")
		os.Exit(2)
	}
	parsed, err := newParser().parse(os.Args[2:])
	if err != nil {
		exit(err)
	}
	if err := checkEnvironment(os.Getenv); err != nil {
		exit(err)
	}
	gpus, err := countGPUs()
	if err != nil {
		exit(err)
	}
	if err := checkEngine(parsed, gpus); err != nil {
		exit(err)
	}
	if parsed.model == "" {
		parsed.model = "Qwen/Qwen3-0.6B" // vLLM's own default
	}
	if err := run(parsed); err != nil {
		exit(err)
	}
}

func exit(err error) {
	if usage := (usageError{}); errors.As(err, &usage) {
		fmt.Fprintf(os.Stderr, "usage: vllm serve [model_tag] [options]\n%v\n", err)
		os.Exit(2)
	}
	fmt.Fprintf(os.Stderr, "Traceback (most recent call last):\n%v\n", err)
	os.Exit(1)
}

func countGPUs() (int, error) {
	driver, err := os.ReadFile(driverFile)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil // no driver in this container: not of the runtime class `nvidia`
	}
	if err != nil {
		return 0, err
	}
	return visibleGPUs(driver, os.Getenv("NVIDIA_VISIBLE_DEVICES"))
}

func run(a *arguments) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	fmt.Printf("INFO [api_server.py] vLLM API server version %s\n", version)
	if err := fillSharedMemory("/dev/shm", sharedMemory(worldSize(a))); err != nil {
		fmt.Fprintf(os.Stderr, "Fatal Python error: Bus error (writing to /dev/shm: %v)\n", err)
		os.Exit(busError)
	}
	simulator, err := startSimulator(a)
	if err != nil {
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
		return fmt.Errorf("RuntimeError: Engine core initialization failed: %v", err)
	case err := <-ready:
		if err != nil {
			return err
		}
	}
	names := servedNames(a)
	front := newServer(a, names[0], apiKeys(a), &url.URL{Scheme: "http", Host: "127.0.0.1:" + simulatorPort})
	address := net.JoinHostPort(a.text("host", ""), strconv.Itoa(a.number("port", 8000)))
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("OSError: %v", err)
	}
	fmt.Printf("INFO [api_server.py] Starting vLLM server on %s\nINFO:     Application startup complete.\n", listener.Addr())
	failed := make(chan error, 1)
	go func() { failed <- serve(a, listener, front) }()
	select {
	case err := <-failed:
		return err
	case err := <-ended:
		return fmt.Errorf("EngineDeadError: EngineCore encountered an issue: %v", err)
	case <-signals:
		fmt.Println("INFO:     Shutting down")
		front.drain(time.Duration(a.number("shutdown_timeout", 0)) * time.Second)
		return nil // what is still in flight is cut off as the process ends
	}
}

func serve(a *arguments, listener net.Listener, handler http.Handler) error {
	if certificate, key := a.text("ssl_certfile", ""), a.text("ssl_keyfile", ""); certificate != "" && key != "" {
		return http.ServeTLS(listener, handler, certificate, key)
	}
	return http.Serve(listener, handler)
}

// started returns when the model is loaded: after the time that LAB_VLLM_STARTUP_SECONDS sets.
func started() error {
	seconds, err := strconv.ParseFloat(os.Getenv("LAB_VLLM_STARTUP_SECONDS"), 64)
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
	return fmt.Errorf("RuntimeError: the simulator does not answer within %d s", simulatorSeconds)
}

func servedNames(a *arguments) []string {
	if names := a.values["served_model_name"]; len(names) > 0 {
		return names
	}
	return []string{a.model}
}

// apiKeys are those of the flag, or else the one of the environment.
func apiKeys(a *arguments) []string {
	if keys := a.values["api_key"]; len(keys) > 0 {
		return keys
	}
	if key := os.Getenv("VLLM_API_KEY"); key != "" {
		return []string{key}
	}
	return nil
}

func startSimulator(a *arguments) (*exec.Cmd, error) {
	flags := []string{
		"--model", a.model, "--port", simulatorPort, "--force-dummy-tokenizer",
		"--max-num-seqs", strconv.Itoa(a.number("max_num_seqs", defaultSequences)),
		"--max-model-len", strconv.Itoa(max(a.number("max_model_len", defaultLength), 1)),
		"--max-loras", strconv.Itoa(a.number("max_loras", 1)),
		"--time-to-first-token", "20ms", "--inter-token-latency", "10ms",
	}
	flags = append(append(flags, "--served-model-name"), servedNames(a)...)
	if adapters := loraModules(a); len(adapters) > 0 {
		flags = append(append(flags, "--lora-modules"), adapters...)
	}
	flags = append(flags, pace...)
	flags = append(flags, strings.Fields(os.Getenv(simulatorFlags))...)
	simulator := exec.Command(simulatorProgram, flags...)
	simulator.Stderr = os.Stderr
	return simulator, simulator.Start()
}

// loraModules gives the adapters as the simulator takes them: `name=path` becomes JSON, as JSON is already.
func loraModules(a *arguments) []string {
	var adapters []string
	for _, module := range a.values["lora_modules"] {
		if name, path, found := strings.Cut(module, "="); found && !strings.HasPrefix(module, "{") {
			encoded, err := json.Marshal(map[string]string{"name": name, "path": path})
			if err != nil {
				panic(err) // strings always encode
			}
			module = string(encoded)
		}
		adapters = append(adapters, module)
	}
	return adapters
}
