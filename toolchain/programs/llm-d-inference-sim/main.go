// llm-d-inference-sim is the simulator of llm-d, with its own settings, on 127.0.0.1 alone: its own command listens on
// every address, where it would answer whoever reaches the pod past the keys of the server in front of it.
package main

import (
	"context"
	"fmt"
	"net"
	"os"

	"github.com/llm-d/llm-d-inference-sim/cmd/signals"
	"github.com/llm-d/llm-d-inference-sim/pkg/common"
	"github.com/llm-d/llm-d-inference-sim/pkg/communication"
	vllmsim "github.com/llm-d/llm-d-inference-sim/pkg/llm-d-inference-sim"
	"k8s.io/klog/v2"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "llm-d-inference-sim:", err)
		os.Exit(1)
	}
}

func run() error {
	logger := klog.Background()
	ctx := signals.SetupSignalHandler(klog.NewContext(context.Background(), logger))
	config, err := common.ParseCommandParamsAndLoadConfig()
	if err != nil {
		return err
	}
	simulators, err := vllmsim.Start(ctx, config, logger)
	if err != nil {
		return err
	}
	if len(simulators) != 1 {
		return fmt.Errorf("%d simulators: this program serves one, without data parallelism", len(simulators))
	}
	listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", config.Port))
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- communication.New(logger, simulators[0]).StartHTTPServer(ctx, listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return nil
	}
}
