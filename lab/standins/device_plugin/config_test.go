package main

import (
	"context"
	"strings"
	"testing"

	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const shared = `
version: v1
sharing:
  timeSlicing:
    failRequestsGreaterThanOne: true
    resources: [{name: nvidia.com/gpu, replicas: 2}]
`

func TestWithoutConfigEachGPUIsOneDevice(t *testing.T) {
	served := newPlugin(&config{}, []string{"GPU-a", "GPU-b"})
	if served.resource != "nvidia.com/gpu" || len(served.devices) != 2 || served.devices[0].ID != "GPU-a" {
		t.Errorf("%+v", served)
	}
	allocated, err := served.Allocate(context.Background(), request("GPU-b", "GPU-a"))
	if err != nil || allocated.ContainerResponses[0].Envs["NVIDIA_VISIBLE_DEVICES"] != "GPU-a,GPU-b" {
		t.Errorf("%v %v", allocated, err)
	}
}

func TestTimeSlicingOffersSlicesAndNamesTheGPU(t *testing.T) {
	settings, err := parseConfig([]byte(shared))
	if err != nil {
		t.Fatal(err)
	}
	served := newPlugin(settings, []string{"GPU-a"})
	if len(served.devices) != 2 || served.devices[1].ID != "GPU-a::1" {
		t.Errorf("%+v", served.devices)
	}
	allocated, err := served.Allocate(context.Background(), request("GPU-a::1"))
	if err != nil || allocated.ContainerResponses[0].Envs["NVIDIA_VISIBLE_DEVICES"] != "GPU-a" {
		t.Errorf("%v %v", allocated, err)
	}
	if _, err := served.Allocate(context.Background(), request("GPU-a::0", "GPU-a::1")); err == nil || !strings.Contains(err.Error(), "maximum request size for shared resources is 1") {
		t.Errorf("two slices in one container: %v", err)
	}
}

func TestRenameByDefault(t *testing.T) {
	settings, err := parseConfig([]byte(strings.Replace(shared, "failRequestsGreaterThanOne", "renameByDefault", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if name, replicas, single := settings.share(); name != "nvidia.com/gpu.shared" || replicas != 2 || single {
		t.Error(name, replicas, single)
	}
}

func TestRefusedConfigs(t *testing.T) {
	for text, want := range map[string]string{
		"version: v2": "unknown version",
		"version: v1\nsharing: {timeSlicing: {replicas: 2}}":                                   "unknown field",
		"version: v1\nflags: {migStrategie: none}":                                             "unknown field",
		"version: v1\nsharing: {timeSlicing: {resources: []}}":                                 "no resources specified",
		"version: v1\nsharing: {timeSlicing: {resources: [{name: nvidia.com/gpu}]}}":           "replicas must be >= 2",
		"version: v1\nsharing: {timeSlicing: {resources: [{name: g, replicas: 2, slots: 1}]}}": "unknown field",
	} {
		if _, err := parseConfig([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, not %q", text, err, want)
		}
	}
}

func request(ids ...string) *api.AllocateRequest {
	return &api.AllocateRequest{ContainerRequests: []*api.ContainerAllocateRequest{{DevicesIds: ids}}}
}
