package main

import (
	"fmt"
	"io"
	"strings"
)

// settings are those of the exporter's flags that decide what the metrics look like.
type settings struct {
	hostname      string // empty: no such label
	virtualGPUs   bool   // a GPU that pods share has one series for each of them
	dashedNames   bool   // blanks in the model's name become dashes
	driverVersion bool   // DCGM_FI_DRIVER_VERSION is in the counters file
}

// render writes the metrics of `samples` in Prometheus' text format.
func render(to io.Writer, counters []counter, samples []sample, holders map[string][]holder, s settings) {
	for _, c := range counters {
		if c.kind == "label" {
			continue
		}
		fmt.Fprintf(to, "# HELP %s %s\n# TYPE %s %s\n", c.field, c.help, c.field, c.kind)
		for _, sampled := range samples {
			value, there := fields[c.field](sampled)
			if !there {
				continue
			}
			for _, labels := range s.labels(sampled.gpu, holders[sampled.UUID]) {
				fmt.Fprintf(to, "%s{%s} %s\n", c.field, labels, value)
			}
		}
	}
}

// labels gives the labels of each series of one GPU. Without virtual GPUs there is one series, and of several pods
// that share the GPU the last one is named, as in NVIDIA's.
func (s settings) labels(g gpu, holders []holder) []string {
	name := g.Name
	if s.dashedNames {
		name = strings.ReplaceAll(name, " ", "-")
	}
	common := fmt.Sprintf(`gpu="%d",UUID=%q,pci_bus_id=%q,device="nvidia%d",modelName=%q`, g.Index, g.UUID, g.busID(), g.Index, name)
	if s.hostname != "" {
		common += fmt.Sprintf(",hostname=%q", s.hostname)
	}
	if s.driverVersion {
		common += fmt.Sprintf(",%s=%q", driverVersionField, driverVersion)
	}
	if len(holders) == 0 {
		return []string{common}
	}
	if !s.virtualGPUs {
		holders = holders[len(holders)-1:]
	}
	var all []string
	for _, h := range holders {
		labels := common + fmt.Sprintf(",container=%q,namespace=%q,pod=%q", h.container, h.namespace, h.pod)
		if s.virtualGPUs && h.slice != "" {
			labels += fmt.Sprintf(",vgpu=%q", h.slice)
		}
		all = append(all, labels)
	}
	return all
}
