package main

import (
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// options are the flags of NVIDIA's exporter that mean something without a GPU; any other one is refused.
type options struct {
	collectors  string
	address     string
	intervalMS  int
	kubernetes  bool
	virtualGPUs bool
	noHostname  bool
	dashedNames bool
	socket      string
	resources   []string
	nodeName    string
}

// parseOptions reads the command line; what is not given there comes from the environment, then from the defaults.
func parseOptions(arguments []string, environment func(string) string, usage io.Writer) (*options, error) {
	o := &options{nodeName: environment("NODE_NAME")}
	set := flag.NewFlagSet("dcgm-exporter", flag.ContinueOnError)
	set.SetOutput(usage)
	var problem error
	text := func(target *string, variable, value string, names ...string) {
		if given := environment(variable); given != "" {
			value = given
		}
		for _, name := range names {
			set.StringVar(target, name, value, "$"+variable)
		}
	}
	boolean := func(target *bool, variable string, names ...string) {
		value := false
		if given := environment(variable); given != "" {
			parsed, err := strconv.ParseBool(given)
			if err != nil {
				problem = fmt.Errorf("could not parse %q as bool value from environment variable %q for flag %s: %w", given, variable, names[0], err)
			}
			value = parsed
		}
		for _, name := range names {
			set.BoolVar(target, name, value, "$"+variable)
		}
	}
	var interval, resources string
	text(&o.collectors, "DCGM_EXPORTER_COLLECTORS", defaultCountersFile, "collectors", "f")
	text(&o.address, "DCGM_EXPORTER_LISTEN", ":9400", "address", "a")
	text(&interval, "DCGM_EXPORTER_INTERVAL", "30000", "collect-interval", "c")
	boolean(&o.kubernetes, "DCGM_EXPORTER_KUBERNETES", "kubernetes", "k")
	boolean(&o.virtualGPUs, "KUBERNETES_VIRTUAL_GPUS", "kubernetes-virtual-gpus")
	boolean(&o.noHostname, "DCGM_EXPORTER_NO_HOSTNAME", "no-hostname", "n")
	boolean(&o.dashedNames, "DCGM_EXPORTER_REPLACE_BLANKS_IN_MODEL_NAME", "replace-blanks-in-model-name", "rbmn")
	text(&o.socket, "DCGM_POD_RESOURCES_KUBELET_SOCKET", "/var/lib/kubelet/pod-resources/kubelet.sock", "pod-resources-kubelet-socket")
	text(&resources, "NVIDIA_RESOURCE_NAMES", "", "nvidia-resource-names")
	if problem != nil {
		return nil, problem
	}
	if err := set.Parse(arguments); err != nil {
		return nil, err
	}
	milliseconds, err := strconv.Atoi(interval)
	if err != nil || milliseconds <= 0 {
		return nil, fmt.Errorf("invalid value %q for flag -collect-interval: not a number of milliseconds", interval)
	}
	o.intervalMS = milliseconds
	o.resources = strings.FieldsFunc(resources, func(r rune) bool { return r == ',' })
	return o, nil
}
