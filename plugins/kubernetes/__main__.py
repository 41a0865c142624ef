"""The executable `pulumi-resource-kubernetes`, as the CLI starts it: with the engine's address."""

from __future__ import annotations

from plugins._provider import run
from plugins.installation import kubernetes_version
from plugins.kubernetes.provider import KubernetesProvider


def main() -> None:
    """Serve until told to stop."""
    version = kubernetes_version()
    run(lambda engine: KubernetesProvider(version, engine))


if __name__ == "__main__":
    main()
