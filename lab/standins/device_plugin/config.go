package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

const resourceName = "nvidia.com/gpu"

// config is the part of NVIDIA's configuration file that means something without a GPU. A key that NVIDIA's plugin
// does not know is an error there and here.
type config struct {
	Version string `json:"version"`
	Flags   *flags `json:"flags,omitempty"`
	Sharing struct {
		TimeSlicing *timeSlicing `json:"timeSlicing,omitempty"`
	} `json:"sharing,omitempty"`
}

type flags struct {
	MigStrategy             *string        `json:"migStrategy,omitempty"`
	FailOnInitError         *bool          `json:"failOnInitError,omitempty"`
	MpsRoot                 *string        `json:"mpsRoot,omitempty"`
	NvidiaDriverRoot        *string        `json:"nvidiaDriverRoot,omitempty"`
	NvidiaDevRoot           *string        `json:"nvidiaDevRoot,omitempty"`
	GDRCopyEnabled          *bool          `json:"gdrcopyEnabled,omitempty"`
	GDSEnabled              *bool          `json:"gdsEnabled,omitempty"`
	MOFEDEnabled            *bool          `json:"mofedEnabled,omitempty"`
	UseNodeFeatureAPI       *bool          `json:"useNodeFeatureAPI,omitempty"`
	DeviceDiscoveryStrategy *string        `json:"deviceDiscoveryStrategy,omitempty"`
	Plugin                  *pluginFlags   `json:"plugin,omitempty"`
	GFD                     map[string]any `json:"gfd,omitempty"`
}

type pluginFlags struct {
	PassDeviceSpecs     *bool   `json:"passDeviceSpecs,omitempty"`
	DeviceListStrategy  any     `json:"deviceListStrategy,omitempty"`
	DeviceIDStrategy    *string `json:"deviceIDStrategy,omitempty"`
	CDIAnnotationPrefix *string `json:"cdiAnnotationPrefix,omitempty"`
	NvidiaCTKPath       *string `json:"nvidiaCTKPath,omitempty"`
	ContainerDriverRoot *string `json:"containerDriverRoot,omitempty"`
}

type timeSlicing struct {
	RenameByDefault            bool             `json:"renameByDefault,omitempty"`
	FailRequestsGreaterThanOne bool             `json:"failRequestsGreaterThanOne,omitempty"`
	Resources                  []sharedResource `json:"resources,omitempty"`
}

type sharedResource struct {
	Name     string `json:"name"`
	Rename   string `json:"rename,omitempty"`
	Devices  any    `json:"devices,omitempty"`
	Replicas int    `json:"replicas"`
}

// parseConfig reads NVIDIA's configuration file.
func parseConfig(text []byte) (*config, error) {
	parsed := &config{}
	if err := yaml.UnmarshalStrict(text, parsed); err != nil {
		return nil, fmt.Errorf("unmarshal error: %w", err)
	}
	if parsed.Version != "v1" {
		return nil, fmt.Errorf("unknown version: %q", parsed.Version)
	}
	if slicing := parsed.Sharing.TimeSlicing; slicing != nil {
		if len(slicing.Resources) == 0 {
			return nil, fmt.Errorf("no resources specified")
		}
		for _, resource := range slicing.Resources {
			if resource.Replicas < 2 {
				return nil, fmt.Errorf("number of replicas must be >= 2")
			}
			if resource.Devices != nil && resource.Devices != "all" {
				return nil, fmt.Errorf("the lab's stand-in shares all devices or none, not a choice of them")
			}
		}
	}
	return parsed, nil
}

// loadConfig reads the file named by CONFIG_FILE; without one, nothing is shared.
func loadConfig() (*config, error) {
	path := os.Getenv("CONFIG_FILE")
	if path == "" {
		return &config{Version: "v1"}, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("error opening config file: %w", err)
	}
	return parseConfig(text)
}

// failOnInitError is what the flags say, or the environment, or else NVIDIA's default.
func (c *config) failOnInitError() bool {
	if c.Flags != nil && c.Flags.FailOnInitError != nil {
		return *c.Flags.FailOnInitError
	}
	value, err := strconv.ParseBool(os.Getenv("FAIL_ON_INIT_ERROR"))
	return err != nil || value
}

// share says under which name the GPUs are offered, in how many slices each, and whether a container may have but one.
func (c *config) share() (name string, replicas int, single bool) {
	slicing := c.Sharing.TimeSlicing
	if slicing == nil {
		return resourceName, 1, false
	}
	index := slices.IndexFunc(slicing.Resources, func(resource sharedResource) bool {
		return resource.Name == resourceName || resource.Name == "gpu"
	})
	if index < 0 {
		return resourceName, 1, false
	}
	resource := slicing.Resources[index]
	name = resourceName
	if resource.Rename != "" {
		name = resource.Rename
	} else if slicing.RenameByDefault {
		name += ".shared"
	}
	return name, resource.Replicas, slicing.FailRequestsGreaterThanOne
}

// gpuUUIDs reads the lab's driver file.
func gpuUUIDs(text []byte) ([]string, error) {
	var driver struct {
		GPUs []struct {
			UUID string `json:"uuid"`
		} `json:"gpus"`
	}
	if err := json.Unmarshal(text, &driver); err != nil {
		return nil, err
	}
	uuids := []string{}
	for _, gpu := range driver.GPUs {
		uuids = append(uuids, gpu.UUID)
	}
	return uuids, nil
}

// visible gives the GPUs behind device ids (uuid, or uuid::slice), each once, in order.
func visible(ids []string) string {
	uuids := []string{}
	for _, id := range ids {
		uuid, _, _ := strings.Cut(id, "::")
		uuids = append(uuids, uuid)
	}
	slices.Sort(uuids)
	return strings.Join(slices.Compact(uuids), ",")
}
