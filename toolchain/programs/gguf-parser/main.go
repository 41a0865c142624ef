// What gguf-parser-go makes of GGUF files: each line of standard input asks for an estimate as JSON, and is answered by a
// line with bytes of the first GPU, all layers on it.
package main

import (
	"bufio"
	"encoding/json"
	"os"

	parser "github.com/gpustack/gguf-parser-go"
)

type question struct {
	Path    string `json:"path"`
	Context int32  `json:"context"`
	Key     string `json:"key"`
	Value   string `json:"value"`
}

type answer struct {
	Weights uint64 `json:"weights"`
	Cache   uint64 `json:"cache"`
}

var types = map[string]parser.GGMLType{
	"f16":  parser.GGMLTypeF16,
	"q8_0": parser.GGMLTypeQ8_0,
	"q4_0": parser.GGMLTypeQ4_0,
}

func main() {
	answers := json.NewEncoder(os.Stdout)
	questions := bufio.NewScanner(os.Stdin)
	for questions.Scan() {
		var asked question
		if err := json.Unmarshal(questions.Bytes(), &asked); err != nil {
			panic(err)
		}
		if err := answers.Encode(estimate(asked)); err != nil {
			panic(err)
		}
	}
}

func estimate(asked question) answer {
	file, err := parser.ParseGGUFFile(asked.Path)
	if err != nil {
		panic(err)
	}
	run := file.EstimateLLaMACppRun(
		parser.WithLLaMACppContextSize(asked.Context),
		parser.WithLLaMACppCacheKeyType(types[asked.Key]),
		parser.WithLLaMACppCacheValueType(types[asked.Value]),
		parser.WithFlashAttention(),
		// It has windows grow by the logical batch, where llama.cpp takes the physical one (llama-kv-cache-iswa.cpp).
		parser.WithLLaMACppLogicalBatchSize(512),
		parser.WithLLaMACppPhysicalBatchSize(512),
	)
	gpu := run.Devices[1]
	return answer{Weights: uint64(gpu.Weight.Sum()), Cache: uint64(gpu.KVCache.Sum())}
}
