"""What programs that use CUDA need on a node's platform."""

from __future__ import annotations

from settings.node import NodeSettings


def platform_environment(node: NodeSettings) -> dict[str, str]:
    """Variables that CUDA programs need on the node's platform, and nowhere else."""
    if node.platform == "native":
        return {}
    return {
        "LD_LIBRARY_PATH": "/usr/lib/wsl/lib:/usr/local/nvidia/lib64:/usr/local/cuda/lib64",
        "NCCL_P2P_DISABLE": "1",
        "NCCL_CUMEM_HOST_ENABLE": "0",
        "NCCL_NVLS_ENABLE": "0",
    }
