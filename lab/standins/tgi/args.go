package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

//go:embed launcher_flags.json
var launcherFlags []byte

// flag is one argument of text-generation-launcher, as its source declares it.
type flag struct {
	Names   []string `json:"names"`
	Kind    string   `json:"kind"`
	Choices []string `json:"choices"`
	Env     string   `json:"env"`
}

// arguments holds what the command line says, else the environment, by the flag's first name.
type arguments map[string]string

// usageError is what the launcher prints before it exits with code 2.
type usageError struct{ message string }

func (e usageError) Error() string {
	return fmt.Sprintf("error: %s\n\nUsage: text-generation-launcher [OPTIONS]\n\nFor more information, try '--help'.", e.message)
}

func flags() map[string]*flag {
	var table struct {
		Flags []*flag `json:"flags"`
	}
	if err := json.Unmarshal(launcherFlags, &table); err != nil {
		panic(err) // it is part of this program
	}
	byName := map[string]*flag{}
	for _, f := range table.Flags {
		for _, name := range f.Names {
			byName[name] = f
		}
	}
	return byName
}

// parse reads words as the launcher's parser does; lookup gives variables of the environment.
func parse(words []string, lookup func(string) string) (arguments, error) {
	known, parsed := flags(), arguments{}
	for i := 0; i < len(words); i++ {
		name, value, inline := strings.Cut(words[i], "=")
		f := known[name]
		if f == nil {
			return nil, usageError{fmt.Sprintf("unexpected argument '%s' found", name)}
		}
		first := f.Names[0]
		if _, twice := parsed[first]; twice {
			return nil, usageError{fmt.Sprintf("the argument '%s' cannot be used multiple times", name)}
		}
		if f.Kind == "switch" {
			if inline {
				return nil, usageError{fmt.Sprintf("unexpected value '%s' for '%s' found; no more were expected", value, name)}
			}
			parsed[first] = "true"
			continue
		}
		if !inline {
			if i++; i == len(words) || strings.HasPrefix(words[i], "-") {
				return nil, usageError{fmt.Sprintf("a value is required for '%s' but none was supplied", name)}
			}
			value = words[i]
		}
		if err := f.check(name, value); err != nil {
			return nil, err
		}
		parsed[first] = value
	}
	for _, f := range known {
		if value := lookup(f.Env); parsed[f.Names[0]] == "" && f.Env != "" && value != "" {
			if err := f.check(f.Names[0], value); err != nil {
				return nil, err
			}
			parsed[f.Names[0]] = value
		}
	}
	return parsed, nil
}

func (f *flag) check(name, value string) error {
	var err error
	switch f.Kind {
	case "int":
		_, err = strconv.ParseUint(value, 10, 64)
	case "float":
		_, err = strconv.ParseFloat(value, 32)
	}
	if err != nil {
		return usageError{fmt.Sprintf("invalid value '%s' for '%s': invalid digit found in string", value, name)}
	}
	if len(f.Choices) > 0 && !slices.Contains(f.Choices, value) {
		return usageError{fmt.Sprintf("invalid value '%s' for '%s'\n  [possible values: %s]", value, name, strings.Join(f.Choices, ", "))}
	}
	return nil
}

func (a arguments) text(name, otherwise string) string {
	if value := a[name]; value != "" {
		return value
	}
	return otherwise
}

func (a arguments) number(name string, otherwise int) int {
	if number, err := strconv.Atoi(a[name]); err == nil {
		return number
	}
	return otherwise
}

// validate refuses what the launcher refuses once it has read its arguments, and what its shards do without GPUs.
func validate(a arguments, gpus int) error {
	total := a.number("--max-total-tokens", 0)
	if input := a.number("--max-input-tokens", 0); input > 0 && total > 0 && input >= total {
		return fmt.Errorf("ArgumentValidation(\"`max_input_tokens`(%d) must be < `max_total_tokens`(%d)\")", input, total)
	}
	if batch := a.number("--max-batch-total-tokens", 0); batch > 0 && total > batch {
		return fmt.Errorf("ArgumentValidation(\"`max_total_tokens` must be <= `max_batch_total_tokens`. Given: %d and %d\")", total, batch)
	}
	shards := a.number("--num-shard", max(gpus, 1))
	if shards > 1 && a["--quantize"] == "exl2" {
		return fmt.Errorf("ArgumentValidation(\"Sharding is currently not supported with `exl2` quantization\")")
	}
	if a["--quantize"] != "" && a["--dtype"] != "" {
		return fmt.Errorf("RuntimeError: Only 1 can be set between `dtype` and `quantize`, as they both decide how goes the final model.")
	}
	if gpus < shards {
		return fmt.Errorf("ShardCannotStart: %d shards for %d CUDA devices: RuntimeError: CUDA error: invalid device ordinal", shards, gpus)
	}
	return nil
}
