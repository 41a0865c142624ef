"""The executable `pulumi-resource-kubernetes`, as the CLI starts it: with the engine's address."""

from __future__ import annotations

from plugins import _stubs


def main() -> None:
    """Serve until told to stop."""
    _stubs.without_the_sdk()
    # Only now, since they import the stubs.
    from plugins._provider import run
    from plugins.installation import kubernetes_version
    from plugins.kubernetes.provider import KubernetesProvider

    version = kubernetes_version()
    run(lambda engine: KubernetesProvider(version, engine))


if __name__ == "__main__":
    main()
