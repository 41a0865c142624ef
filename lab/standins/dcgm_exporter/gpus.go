package main

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"
)

const (
	driverVersionField = "DCGM_FI_DRIVER_VERSION"
	driverVersion      = "580.95.05"
	powerLimit         = 300.0 // W
	idlePower          = 22.0  // W
)

// gpu is one GPU of the lab's driver file.
type gpu struct {
	Index     int    `json:"index"`
	UUID      string `json:"uuid"`
	Name      string `json:"name"`
	MemoryMiB int    `json:"memoryMiB"`
	XID       int    `json:"xid"` // the last XID error: written into the file by who wants to see one
}

func parseDriver(text []byte) ([]gpu, error) {
	var driver struct {
		GPUs []gpu `json:"gpus"`
	}
	if err := json.Unmarshal(text, &driver); err != nil {
		return nil, err
	}
	return driver.GPUs, nil
}

// busID is where the GPU is on PCIe, as DCGM writes it.
func (g gpu) busID() string { return fmt.Sprintf("00000000:%02X:00.0", g.Index+1) }

// dataCenter says whether the card has ECC memory and NVLink; for other cards DCGM leaves their fields out.
func (g gpu) dataCenter() bool {
	return !strings.Contains(g.Name, "GeForce") && !strings.Contains(g.Name, "RTX")
}

// sample is what a GPU does at one moment.
type sample struct {
	gpu
	busy   bool    // a pod holds it
	wave   float64 // 0 to 1, up and down every two minutes, each GPU in a phase of its own
	energy float64 // mJ since this program started
}

func newSample(g gpu, busy bool, at time.Time) sample {
	turn := float64(at.UnixMilli())/120_000 + float64(g.Index)/7
	return sample{gpu: g, busy: busy, wave: (1 + math.Sin(2*math.Pi*turn)) / 2}
}

// between gives `idle`, or for a GPU that a pod holds a value between `low` and `high`.
func (s sample) between(idle, low, high float64) float64 {
	if !s.busy {
		return idle
	}
	return low + (high-low)*s.wave
}

func (s sample) power() float64 { return s.between(idlePower, 0.4*powerLimit, 0.85*powerLimit) }

// used is in MiB: what a server takes of a GPU with gpu-memory-utilization 0.9, or an idle driver.
func (s sample) used() float64 {
	if !s.busy {
		return 4
	}
	return math.Floor(0.9 * float64(s.MemoryMiB))
}

func (s sample) reserved() float64 { return math.Floor(0.02 * float64(s.MemoryMiB)) }

// field gives a DCGM field's value as text; false where the card does not have it.
type field func(sample) (string, bool)

func whole(value func(sample) float64) field {
	return func(s sample) (string, bool) { return fmt.Sprintf("%d", int64(value(s))), true }
}

func constant(value int64) field {
	return whole(func(sample) float64 { return float64(value) })
}

func dataCenterOnly(inner field) field {
	return func(s sample) (string, bool) {
		if !s.dataCenter() {
			return "", false
		}
		return inner(s)
	}
}

var fields = map[string]field{
	"DCGM_FI_DEV_SM_CLOCK":                    whole(func(s sample) float64 { return s.between(210, 1350, 2520) }),
	"DCGM_FI_DEV_MEM_CLOCK":                   whole(func(s sample) float64 { return s.between(405, 10501, 10501) }),
	"DCGM_FI_DEV_MEMORY_TEMP":                 dataCenterOnly(whole(func(s sample) float64 { return s.between(38, 60, 84) })),
	"DCGM_FI_DEV_GPU_TEMP":                    whole(func(s sample) float64 { return s.between(34, 52, 74) }),
	"DCGM_FI_DEV_POWER_USAGE":                 func(s sample) (string, bool) { return fmt.Sprintf("%f", s.power()), true },
	"DCGM_FI_DEV_POWER_MGMT_LIMIT":            func(sample) (string, bool) { return fmt.Sprintf("%f", powerLimit), true },
	"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION":    whole(func(s sample) float64 { return s.energy }),
	"DCGM_FI_DEV_PCIE_REPLAY_COUNTER":         constant(0),
	"DCGM_FI_DEV_GPU_UTIL":                    whole(func(s sample) float64 { return s.between(0, 35, 98) }),
	"DCGM_FI_DEV_MEM_COPY_UTIL":               whole(func(s sample) float64 { return s.between(0, 20, 70) }),
	"DCGM_FI_DEV_ENC_UTIL":                    constant(0),
	"DCGM_FI_DEV_DEC_UTIL":                    constant(0),
	"DCGM_FI_DEV_XID_ERRORS":                  whole(func(s sample) float64 { return float64(s.XID) }),
	"DCGM_FI_DEV_FB_TOTAL":                    whole(func(s sample) float64 { return float64(s.MemoryMiB) }),
	"DCGM_FI_DEV_FB_FREE":                     whole(func(s sample) float64 { return float64(s.MemoryMiB) - s.used() - s.reserved() }),
	"DCGM_FI_DEV_FB_USED":                     whole(sample.used),
	"DCGM_FI_DEV_FB_RESERVED":                 whole(sample.reserved),
	"DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL":      dataCenterOnly(constant(0)),
	"DCGM_FI_DEV_VGPU_LICENSE_STATUS":         constant(0),
	"DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS": dataCenterOnly(constant(0)),
	"DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS":   dataCenterOnly(constant(0)),
	"DCGM_FI_DEV_ROW_REMAP_FAILURE":           dataCenterOnly(constant(0)),
}
