package main

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/podresources/v1"
)

const (
	resourceName      = "nvidia.com/gpu"
	connectionTimeout = 10 * time.Second
)

// holder is a container that has a GPU, or a slice of one.
type holder struct {
	pod, namespace, container string
	slice                     string // number of the slice, empty for a whole GPU
}

// holders asks the kubelet which containers have which GPUs, by UUID; none where the socket is not mounted.
func holders(socket string, resources []string) (map[string][]holder, error) {
	if _, err := os.Stat(socket); os.IsNotExist(err) {
		return nil, nil
	}
	connection, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), connectionTimeout)
	defer cancel()
	listed, err := api.NewPodResourcesListerClient(connection).List(ctx, &api.ListPodResourcesRequest{})
	if err != nil {
		return nil, err
	}
	return byGPU(listed, resources), nil
}

func byGPU(listed *api.ListPodResourcesResponse, resources []string) map[string][]holder {
	found := map[string][]holder{}
	for _, pod := range listed.PodResources {
		for _, container := range pod.Containers {
			for _, devices := range container.Devices {
				if devices.ResourceName != resourceName && !slices.Contains(resources, devices.ResourceName) {
					continue
				}
				for _, id := range devices.DeviceIds {
					uuid, slice, _ := strings.Cut(id, "::")
					found[uuid] = append(found[uuid], holder{pod.Name, pod.Namespace, container.Name, slice})
				}
			}
		}
	}
	return found
}
