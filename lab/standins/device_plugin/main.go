// device-plugin stands in for NVIDIA's k8s-device-plugin: the same configuration file, device ids, environment and
// failures, over GPUs that are only numbers in the lab's driver file. That file is in a container only with the
// runtime class `nvidia`, as the driver is.
package main

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const (
	driverFile    = "/run/nvidia-lab/gpus.json"
	watchInterval = time.Second
)

type plugin struct {
	api.UnimplementedDevicePluginServer
	resource string
	single   bool
	devices  []*api.Device
}

func newPlugin(settings *config, uuids []string) *plugin {
	name, replicas, single := settings.share()
	served := &plugin{resource: name, single: single && replicas > 1}
	for _, uuid := range uuids {
		for slice := range replicas {
			id := uuid
			if replicas > 1 {
				id = fmt.Sprintf("%s::%d", uuid, slice)
			}
			served.devices = append(served.devices, &api.Device{ID: id, Health: api.Healthy})
		}
	}
	return served
}

func (p *plugin) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

func (p *plugin) ListAndWatch(_ *api.Empty, stream api.DevicePlugin_ListAndWatchServer) error {
	if err := stream.Send(&api.ListAndWatchResponse{Devices: p.devices}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

func (p *plugin) Allocate(_ context.Context, request *api.AllocateRequest) (*api.AllocateResponse, error) {
	response := &api.AllocateResponse{}
	for _, container := range request.ContainerRequests {
		if p.single && len(container.DevicesIds) > 1 {
			return nil, fmt.Errorf("invalid allocation request for '%s': request for '%s: %d' too large: maximum request size for shared resources is 1",
				p.resource, p.resource, len(container.DevicesIds))
		}
		environment := map[string]string{"NVIDIA_VISIBLE_DEVICES": visible(container.DevicesIds)}
		response.ContainerResponses = append(response.ContainerResponses, &api.ContainerAllocateResponse{Envs: environment})
	}
	return response, nil
}

func (p *plugin) GetPreferredAllocation(context.Context, *api.PreferredAllocationRequest) (*api.PreferredAllocationResponse, error) {
	return &api.PreferredAllocationResponse{}, nil
}

func (p *plugin) PreStartContainer(context.Context, *api.PreStartContainerRequest) (*api.PreStartContainerResponse, error) {
	return &api.PreStartContainerResponse{}, nil
}

// serve offers the devices until `until` says that something changed, which it asks once a second.
func (p *plugin) serve(until func() bool) error {
	socket := filepath.Join(api.DevicePluginPath, strings.NewReplacer("/", "-", ".", "-").Replace(p.resource)+".sock")
	os.Remove(socket) // a former run's
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	own, err := os.Stat(socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	api.RegisterDevicePluginServer(server, p)
	go server.Serve(listener)
	defer server.Stop()
	if err := p.register(filepath.Base(socket)); err != nil {
		return err
	}
	log.Printf("Registered device plugin for '%s' with Kubelet (%d devices)", p.resource, len(p.devices))
	for {
		time.Sleep(watchInterval)
		// A kubelet that starts empties its folder and forgets its plugins; a plugin that is about to end may have
		// put its own socket there.
		if now, err := os.Stat(socket); err != nil || !os.SameFile(own, now) || until() {
			return nil
		}
	}
}

func (p *plugin) register(endpoint string) error {
	kubelet, err := grpc.NewClient("unix://"+api.KubeletSocket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer kubelet.Close()
	request := &api.RegisterRequest{Version: api.Version, Endpoint: endpoint, ResourceName: p.resource}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err = api.NewRegistrationClient(kubelet).Register(ctx, request)
	return err
}

func main() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		os.Exit(0)
	}()
	if len(os.Args) > 1 {
		log.Fatalf("the lab's stand-in takes its settings from the environment, not from flags: %q", os.Args[1:])
	}
	settings, err := loadConfig()
	if err != nil {
		log.Fatalf("Error: unable to load config: unable to finalize config: unable to parse config file: %v", err)
	}
	if _, err := os.Stat(driverFile); err != nil {
		log.Print("Incompatible strategy detected auto")
		log.Print("could not load NVML library: libnvidia-ml.so.1: cannot open shared object file: No such file or directory")
		log.Print("If this is a GPU node, did you configure the NVIDIA Container Toolkit?")
		if settings.failOnInitError() {
			log.Fatal("Error: error starting plugins: error creating plugin manager: invalid device discovery strategy")
		}
		log.Print("No devices found. Waiting indefinitely.")
		select {}
	}
	for {
		text, err := os.ReadFile(driverFile)
		if err != nil {
			log.Fatal(err)
		}
		uuids, err := gpuUUIDs(text)
		if err != nil {
			log.Fatal(err)
		}
		err = newPlugin(settings, uuids).serve(func() bool {
			now, err := os.ReadFile(driverFile)
			return err != nil || !bytes.Equal(now, text)
		})
		if err != nil {
			log.Printf("Failed to start plugin: %v; retrying", err)
			time.Sleep(watchInterval)
		}
	}
}
