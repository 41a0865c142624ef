package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

const (
	driverFile = "/run/nvidia-lab/gpus.json"
	mebibyte   = 1 << 20
	// Exit code of a process that the kernel ends by SIGBUS: what a full /dev/shm does to vLLM's workers.
	busError = 128 + 7
)

// Methods that left vLLM, or need a plugin from outside of it.
var goneQuantizations = []string{"squeezellm", "bitsandbytes", "gguf"}

// checkEnvironment refuses what vLLM refuses in its environment.
func checkEnvironment(lookup func(string) string) error {
	if port := lookup("VLLM_PORT"); strings.Contains(port, "://") {
		return fmt.Errorf("ValueError: VLLM_PORT '%s' appears to be a URI. This may be caused by a Kubernetes service discovery issue, check the warning in: https://docs.vllm.ai/en/stable/serving/env_vars.html", port)
	}
	return nil
}

// visibleGPUs counts the GPUs that a container sees: the driver's, chosen by NVIDIA_VISIBLE_DEVICES.
func visibleGPUs(driver []byte, visible string) (int, error) {
	var node struct {
		GPUs []struct {
			Index int    `json:"index"`
			UUID  string `json:"uuid"`
		} `json:"gpus"`
	}
	if err := json.Unmarshal(driver, &node); err != nil {
		return 0, err
	}
	if visible == "all" {
		return len(node.GPUs), nil
	}
	count := 0
	for _, gpu := range node.GPUs {
		chosen := strings.Split(visible, ",")
		if slices.Contains(chosen, gpu.UUID) || slices.Contains(chosen, fmt.Sprint(gpu.Index)) {
			count++
		}
	}
	return count, nil
}

// checkEngine refuses what vLLM's engine configuration refuses, with its messages.
func checkEngine(a *arguments, gpus int) error {
	if gpus == 0 {
		return fmt.Errorf("RuntimeError: Failed to infer device type, please set the environment variable `VLLM_LOGGING_LEVEL=DEBUG` to turn on verbose logging to help debug the issue.")
	}
	if a.on("enable_auto_tool_choice") && a.text("tool_call_parser", "") == "" {
		return fmt.Errorf("TypeError: Error: --enable-auto-tool-choice requires --tool-call-parser")
	}
	if a.text("config", "") != "" {
		return fmt.Errorf("the lab's stand-in does not read --config: give its content as flags")
	}
	if share := a.decimal("gpu_memory_utilization", 0.92); share <= 0 || share > 1 {
		return fmt.Errorf("ValidationError: 1 validation error for CacheConfig\ngpu_memory_utilization\n  Input should be greater than 0 and less than or equal to 1 (input: %v)", share)
	}
	if method := a.text("quantization", ""); slices.Contains(goneQuantizations, method) {
		return fmt.Errorf("ValidationError: 1 validation error for ModelConfig\n  Value error, Unknown quantization method: %s", method)
	}
	world := worldSize(a)
	nodes := a.number("nnodes", 1)
	if world/nodes > gpus {
		return fmt.Errorf("ValidationError: 1 validation error for ParallelConfig\n  Value error, World size (%d) is larger than the number of available GPUs (%d) in this node. If this is intentional and you are using:\n- ray, set '--distributed-executor-backend ray'.\n- multiprocessing, set '--nnodes' appropriately.", world, gpus)
	}
	length, tokens, sequences := a.number("max_model_len", 0), a.number("max_num_batched_tokens", 0), a.number("max_num_seqs", 0)
	if tokens > 0 && sequences > tokens {
		return fmt.Errorf("ValidationError: 1 validation error for SchedulerConfig\n  Value error, max_num_batched_tokens (%d) must be greater than or equal to max_num_seqs (%d).", tokens, sequences)
	}
	if a.text("enable_chunked_prefill", "") == "false" && tokens > 0 && tokens < length {
		return fmt.Errorf("ValidationError: 1 validation error for SchedulerConfig\n  Value error, max_num_batched_tokens (%d) is smaller than max_model_len (%d). This effectively limits the maximum sequence length to max_num_batched_tokens and makes vLLM reject longer sequences. Please increase max_num_batched_tokens or decrease max_model_len.", tokens, length)
	}
	return nil
}

func worldSize(a *arguments) int {
	return a.number("tensor_parallel_size", 1) * a.number("pipeline_parallel_size", 1)
}

// sharedMemory is what vLLM's message queues between `workers` processes take, as measured: 640, 1120 and 2080 MiB
// for 2, 4 and 8.
func sharedMemory(workers int) int {
	if workers < 2 {
		return 0
	}
	return (160 + 240*workers) * mebibyte
}

// fillSharedMemory writes `size` bytes of shared memory, which stay as long as the process.
func fillSharedMemory(folder string, size int) error {
	if size == 0 {
		return nil
	}
	file, err := os.CreateTemp(folder, "psm_")
	if err != nil {
		return err
	}
	os.Remove(file.Name()) // gone when the last process that has it open ends
	block := make([]byte, mebibyte)
	for written := 0; written < size; written += len(block) {
		if _, err := file.Write(block); err != nil {
			return err
		}
	}
	return nil
}
