package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	api "k8s.io/kubelet/pkg/apis/podresources/v1"
)

const driver = `{"gpus": [
	{"index": 0, "uuid": "GPU-a", "name": "NVIDIA GeForce RTX 4090", "memoryMiB": 24564},
	{"index": 1, "uuid": "GPU-b", "name": "NVIDIA A100-SXM4-80GB", "memoryMiB": 81920, "xid": 79}]}`

// kubelet answers as the kubelet does on its pod-resources socket.
type kubelet struct {
	api.UnimplementedPodResourcesListerServer
	pods []*api.PodResources
}

func (k kubelet) List(context.Context, *api.ListPodResourcesRequest) (*api.ListPodResourcesResponse, error) {
	return &api.ListPodResourcesResponse{PodResources: k.pods}, nil
}

func pod(name, resource string, devices ...string) *api.PodResources {
	container := &api.ContainerResources{Name: "server", Devices: []*api.ContainerDevices{{ResourceName: resource, DeviceIds: devices}}}
	return &api.PodResources{Name: name, Namespace: "llm", Containers: []*api.ContainerResources{container}}
}

// started is an exporter with these flags, over the driver above and a kubelet with these pods.
func started(t *testing.T, flags []string, pods ...*api.PodResources) *exporter {
	t.Helper()
	folder := t.TempDir()
	socket := filepath.Join(folder, "kubelet.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	api.RegisterPodResourcesListerServer(server, kubelet{pods: pods})
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	path := filepath.Join(folder, "gpus.json")
	if err := os.WriteFile(path, []byte(driver), 0o644); err != nil {
		t.Fatal(err)
	}
	environment := map[string]string{"NODE_NAME": "gpu-a", "DCGM_POD_RESOURCES_KUBELET_SOCKET": socket}
	options, err := parseOptions(flags, func(name string) string { return environment[name] }, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	counters, err := readCounters("default-counters.csv")
	if err != nil {
		t.Fatal(err)
	}
	e, err := newExporter(options, counters, path)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func get(e *exporter, path string) (int, string) {
	answer := httptest.NewRecorder()
	e.ServeHTTP(answer, httptest.NewRequest("GET", path, nil))
	return answer.Code, answer.Body.String()
}

// series gives the lines of one metric, without its name.
func series(e *exporter, field string) []string {
	_, text := get(e, "/metrics")
	var found []string
	for _, line := range strings.Split(text, "\n") {
		if rest, is := strings.CutPrefix(line, field+"{"); is {
			found = append(found, rest)
		}
	}
	return found
}

func value(t *testing.T, line string) float64 {
	t.Helper()
	var number float64
	if _, err := fmt.Sscan(line[strings.LastIndex(line, " "):], &number); err != nil {
		t.Fatal(line, err)
	}
	return number
}

func TestLabelsAreThoseOfTheRealExporter(t *testing.T) {
	e := started(t, []string{"-k"}, pod("chat-0", "nvidia.com/gpu", "GPU-a"))
	want := []string{
		`gpu="0",UUID="GPU-a",pci_bus_id="00000000:01:00.0",device="nvidia0",modelName="NVIDIA GeForce RTX 4090",hostname="gpu-a",DCGM_FI_DRIVER_VERSION="580.95.05",container="server",namespace="llm",pod="chat-0"}`,
		`gpu="1",UUID="GPU-b",pci_bus_id="00000000:02:00.0",device="nvidia1",modelName="NVIDIA A100-SXM4-80GB",hostname="gpu-a",DCGM_FI_DRIVER_VERSION="580.95.05"}`,
	}
	got := series(e, "DCGM_FI_DEV_GPU_UTIL")
	if len(got) != len(want) {
		t.Fatal(got)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("%s\nnot\n%s", got[i], want[i])
		}
	}
}

func TestPodsAreNamedOnlyWhereAskedFor(t *testing.T) {
	e := started(t, nil, pod("chat-0", "nvidia.com/gpu", "GPU-a"))
	if got := series(e, "DCGM_FI_DEV_FB_USED"); strings.Contains(got[0], "pod=") || value(t, got[0]) < 20000 {
		t.Error(got)
	}
}

func TestAHeldGPUWorksAndAnIdleOneDoesNot(t *testing.T) {
	e := started(t, []string{"-k"}, pod("chat-0", "nvidia.com/gpu", "GPU-a"), pod("other", "example.com/gpu", "GPU-b"))
	for field, idle := range map[string]float64{"DCGM_FI_DEV_GPU_UTIL": 0, "DCGM_FI_DEV_FB_USED": 4, "DCGM_FI_DEV_SM_CLOCK": 210, "DCGM_FI_DEV_POWER_USAGE": 22, "DCGM_FI_DEV_GPU_TEMP": 34} {
		got := series(e, field)
		if value(t, got[0]) <= idle || value(t, got[1]) != idle {
			t.Errorf("%s: %v", field, got)
		}
	}
	for i, total := range []float64{24564, 81920} {
		sum := 0.0
		for _, part := range []string{"USED", "FREE", "RESERVED"} {
			sum += value(t, series(e, "DCGM_FI_DEV_FB_"+part)[i])
		}
		if sum != total {
			t.Errorf("GPU %d: used, free and reserved are %v MiB, not %v", i, sum, total)
		}
	}
}

func TestSharedGPUs(t *testing.T) {
	pods := []*api.PodResources{pod("a", "nvidia.com/gpu", "GPU-a::0"), pod("b", "nvidia.com/gpu.shared", "GPU-a::1")}
	one := series(started(t, []string{"-k"}, pods...), "DCGM_FI_DEV_FB_USED")
	if len(one) != 2 || !strings.Contains(one[0], `pod="a"}`) {
		t.Error(one)
	}
	both := []*api.PodResources{pods[0], pod("c", "nvidia.com/gpu", "GPU-a::1")}
	last := series(started(t, []string{"-k"}, both...), "DCGM_FI_DEV_FB_USED")
	if len(last) != 2 || !strings.Contains(last[0], `pod="c"}`) {
		t.Error(last)
	}
	all := series(started(t, []string{"-k", "--kubernetes-virtual-gpus", "--nvidia-resource-names=nvidia.com/gpu.shared"}, pods...), "DCGM_FI_DEV_FB_USED")
	if len(all) != 3 || !strings.Contains(all[0], `pod="a",vgpu="0"}`) || !strings.Contains(all[1], `pod="b",vgpu="1"}`) {
		t.Error(all)
	}
}

func TestXIDIsTheDriverFiles(t *testing.T) {
	got := series(started(t, nil), "DCGM_FI_DEV_XID_ERRORS")
	if value(t, got[0]) != 0 || value(t, got[1]) != 79 {
		t.Error(got)
	}
}

func TestFieldsThatTheCardDoesNotHaveAreLeftOut(t *testing.T) {
	for _, field := range []string{"DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL", "DCGM_FI_DEV_ROW_REMAP_FAILURE", "DCGM_FI_DEV_MEMORY_TEMP"} {
		if got := series(started(t, nil), field); len(got) != 1 || !strings.Contains(got[0], "A100") {
			t.Errorf("%s: %v", field, got)
		}
	}
}

func TestEnergyOnlyGrows(t *testing.T) {
	e := started(t, nil)
	since, last := e.at, 0.0
	for _, after := range []time.Duration{10 * time.Second, 20 * time.Second, 15 * time.Second, 30 * time.Second} {
		samples, _, err := e.collect(since.Add(after))
		if err != nil {
			t.Fatal(err)
		}
		if samples[0].energy < last {
			t.Errorf("%v mJ after %v mJ", samples[0].energy, last)
		}
		last = samples[0].energy
	}
	if last != 30*idlePower*1000 {
		t.Errorf("%v mJ in 30 s at %v W", last, idlePower)
	}
}

func TestEachMetricIsDescribedOnceAndIsPrometheus(t *testing.T) {
	e := started(t, []string{"-k"}, pod("chat-0", "nvidia.com/gpu", "GPU-a"))
	status, text := get(e, "/metrics")
	if status != 200 {
		t.Fatal(status)
	}
	line := regexp.MustCompile(`^(# (HELP|TYPE) DCGM_FI_\w+ .+|DCGM_FI_\w+\{(\w+="[^"]*",?)+\} [0-9.]+)$`)
	types := map[string]int{}
	for _, written := range strings.Split(strings.TrimSpace(text), "\n") {
		if !line.MatchString(written) {
			t.Errorf("%q", written)
		}
		if name, is := strings.CutPrefix(written, "# TYPE "); is {
			types[name]++
		}
	}
	for _, want := range []string{"DCGM_FI_DEV_GPU_UTIL gauge", "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION counter"} {
		if types[want] != 1 {
			t.Errorf("%s: %d times", want, types[want])
		}
	}
	if strings.Contains(text, "_PROF_") || strings.Contains(text, "# TYPE DCGM_FI_DRIVER_VERSION") {
		t.Error("a profiling metric, or a label as a metric")
	}
}

func TestHealth(t *testing.T) {
	if status, text := get(started(t, nil), "/health"); status != 200 || text != "KO" {
		t.Error(status, text)
	}
}

func TestMetricsFailWithTheDriver(t *testing.T) {
	e := started(t, nil)
	os.Remove(e.driver)
	if status, _ := get(e, "/metrics"); status != 500 {
		t.Error(status)
	}
}
