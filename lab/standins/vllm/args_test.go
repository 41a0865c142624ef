package main

import (
	"strings"
	"testing"
)

func TestAcceptedAsByVLLM(t *testing.T) {
	for line, want := range map[string][2]string{
		"m --max-model-len 8k":                     {"max_model_len", "8k"},
		"m --max-model-len -1":                     {"max_model_len", "-1"},
		"m --max-model-len auto":                   {"max_model_len", "auto"},
		"m --max_num_seqs=16":                      {"max_num_seqs", "16"},
		"m --enforce-eager":                        {"enforce_eager", "true"},
		"m --no-enforce-eager":                     {"enforce_eager", "false"},
		"m --no-enable-prefix-caching":             {"enable_prefix_caching", "false"},
		"m --disable-prefix-caching":               {"enable_prefix_caching", "false"},
		"m --disable-custom-all-reduce":            {"disable_custom_all_reduce", "true"},
		"m -tp 2":                                  {"tensor_parallel_size", "2"},
		"m --served-model-name a b --port 1":       {"served_model_name", "a b"},
		`m --speculative-config {"model":"x"}`:     {"speculative_config", `{"model":"x"}`},
		"m --compilation-config.mode 3":            {"compilation_config.", "3"},
		"--port 1 m":                               {"port", "1"},
		"m --kv-cache-dtype fp8 --max-lora-rank 8": {"max_lora_rank", "8"},
	} {
		parsed, err := newParser().parse(strings.Fields(line))
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if got := strings.Join(parsed.values[want[0]], " "); got != want[1] || parsed.model != "m" {
			t.Errorf("%s: %s is %q and the model %q", line, want[0], got, parsed.model)
		}
	}
}

func TestAValueBehindAnEqualsSignMayHoldSpaces(t *testing.T) {
	parsed, err := newParser().parse([]string{"m", "--chat-template={{ a }} b", "--lora-modules", "x=a/b", "--port=1"})
	if err != nil {
		t.Fatal(err)
	}
	if got := parsed.values["chat_template"]; len(got) != 1 || got[0] != "{{ a }} b" {
		t.Errorf("the template is %q", got)
	}
	if _, err := newParser().parse([]string{"m", "--unheard-of=a b"}); err == nil {
		t.Error("an unknown option with a space is taken")
	}
}

func TestRefusedAsByVLLM(t *testing.T) {
	for line, want := range map[string]string{
		"m --swap-space 4":          "vllm: error: unrecognized arguments: --swap-space 4",
		"m --max-model 100":         "unrecognized arguments: --max-model 100", // an abbreviation
		"m --enforce-eager=True":    "argument --enforce-eager/--no-enforce-eager: ignored explicit argument 'True'",
		"m --enforce-eager True":    "unrecognized arguments: True",
		"m --port http":             "argument --port: invalid int value: 'http'",
		"m --port":                  "argument --port: expected one argument",
		"m --dtype int4":            "argument --dtype: invalid choice: 'int4' (choose from 'auto', 'bfloat16',",
		"m --max-lora-rank 7":       "invalid choice: '7' (choose from 1, 8, 16,",
		"m --max-num-seqs many":     "invalid",
		"m --max-model-len 1.5K":    "invalid human_readable_int_or_auto value: '1.5K'",
		"m --served-model-name":     "expected at least one argument",
		"m --speculative-config {x": "invalid loads value",
		"m --port.x 3":              "unrecognized arguments: --port.x 3",
		"m n":                       "unrecognized arguments: n",
	} {
		_, err := newParser().parse(strings.Fields(line))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, not %q", line, err, want)
		}
	}
}

func TestHumanReadable(t *testing.T) {
	for text, want := range map[string]int{"8k": 8000, "8K": 8192, "1.5k": 1500, "2m": 2_000_000, "16": 16} {
		if got, err := humanReadable(text); got != want || err != nil {
			t.Errorf("%s is %d (%v), not %d", text, got, err, want)
		}
	}
}

func TestEngineRefuses(t *testing.T) {
	for line, want := range map[string]string{
		"m --gpu-memory-utilization 1.5":                 "less than or equal to 1",
		"m --gpu-memory-utilization 0":                   "greater than 0",
		"m --tensor-parallel-size 4":                     "World size (4) is larger than the number of available GPUs (2)",
		"m -tp 2 -pp 2":                                  "World size (4)",
		"m --quantization squeezellm":                    "Unknown quantization method",
		"m --max-num-batched-tokens 8 --max-num-seqs 16": "max_num_batched_tokens (8) must be greater",
		"m --no-enable-chunked-prefill --max-num-batched-tokens 2k --max-model-len 8k": "smaller than max_model_len (8000)",
		"m --enable-auto-tool-choice": "requires --tool-call-parser",
	} {
		parsed, err := newParser().parse(strings.Fields(line))
		if err != nil {
			t.Fatal(err)
		}
		if err := checkEngine(parsed, 2); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, not %q", line, err, want)
		}
	}
	fine, _ := newParser().parse(strings.Fields("m -tp 2 --gpu-memory-utilization 0.9"))
	if err := checkEngine(fine, 2); err != nil {
		t.Error(err)
	}
	if err := checkEngine(fine, 0); err == nil || !strings.Contains(err.Error(), "Failed to infer device type") {
		t.Error(err)
	}
}

func TestVisibleGPUs(t *testing.T) {
	driver := []byte(`{"gpus":[{"index":0,"uuid":"GPU-a"},{"index":1,"uuid":"GPU-b"}]}`)
	for visible, want := range map[string]int{"all": 2, "GPU-b": 1, "GPU-a,GPU-b": 2, "": 0, "void": 0, "none": 0, "1": 1} {
		if got, err := visibleGPUs(driver, visible); got != want || err != nil {
			t.Errorf("%q: %d GPUs (%v), not %d", visible, got, err, want)
		}
	}
}

func TestSharedMemoryIsWhatWasMeasured(t *testing.T) {
	for workers, mib := range map[int]int{1: 0, 2: 640, 4: 1120, 8: 2080} {
		if got := sharedMemory(workers); got != mib*mebibyte {
			t.Errorf("%d workers: %d bytes, not %d MiB", workers, got, mib)
		}
	}
}

func TestMetricsAreVLLMs(t *testing.T) {
	simulator := `# HELP vllm:num_requests_running x
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{model_name="a"} 3
vllm:time_per_output_token_seconds_count{model_name="a"} 1
vllm:request_success_total{finish_reason="stop",model_name="a"} 1
vllm:made_up{model_name="a"} 1
`
	var out strings.Builder
	if err := rewriteMetrics(strings.NewReader(simulator), &out, "a", map[string]int64{"vllm:num_requests_running": 2}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`vllm:num_requests_running{engine="0",model_name="a"} 2`,
		`vllm:request_time_per_output_token_seconds_count{engine="0",model_name="a"} 1`,
		`vllm:request_success_total{engine="0",finished_reason="stop",model_name="a"} 1`,
		`vllm:num_preemptions_total{engine="0",model_name="a"} 0`,
	} {
		if !strings.Contains(out.String(), want+"\n") {
			t.Errorf("no %s in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "made_up") {
		t.Error("a metric that vLLM does not have")
	}
}
