"""LlmIngress: the one door through which requests come in."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
import pulumi_kubernetes as k8s

from components._labels import metadata
from planning.plan import IngressPlan
from planning.routes import Route

__all__ = ["LlmIngress"]

_APP = "llm-ingress"


class LlmIngress(pulumi.ComponentResource):
    """Routes of Traefik, one Ingress for each path, streaming as it comes.

    Creates an Ingress for each route, and a Middleware where the engine sees another path than the client. Deliberately
    does not create the ingress controller: k3s ships Traefik.
    """

    urls: dict[str, pulumi.Output[str]]
    """URL by path, e.g. `http://localhost/v1`; known once the model behind it answers."""

    def __init__(
        self,
        name: str,
        plan: IngressPlan,
        *,
        namespace: pulumi.Input[str],
        services: Mapping[str, pulumi.Output[str]],
        ports: Mapping[str, int],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create the routes.

        Args:
            name: Pulumi name of the component.
            plan: host and routes.
            namespace: namespace of the Services.
            services: by server, the name of its Service, known once it answers.
            ports: by server, the port of its Service.
            opts: apply to the component; children inherit through `parent`.
        """
        super().__init__("llm:index:LlmIngress", name, None, opts)
        self._namespace = namespace
        self.urls = {}
        for route in plan.routes:
            ingress = self._route(name, plan.host, route, services[route.server], ports[route.server])
            self.urls[route.path] = pulumi.Output.concat(
                f"http://{plan.host}{route.path}", ingress.id.apply(lambda _: "")
            )
        self.register_outputs({"urls": self.urls})

    def _route(
        self, name: str, host: str, route: Route, service: pulumi.Output[str], port: int
    ) -> k8s.networking.v1.Ingress:
        key = route.key
        instance = f"{_APP}-{key}"
        annotations: dict[str, pulumi.Input[str]] = {
            "traefik.ingress.kubernetes.io/router.entrypoints": "web",
        }
        depends_on: list[pulumi.Resource] = []
        if route.path != route.engine_prefix:
            middleware = k8s.apiextensions.CustomResource(
                f"{name}-{key}",
                api_version="traefik.io/v1alpha1",
                kind="Middleware",
                metadata=metadata(_APP, instance, namespace=self._namespace),
                spec={
                    "replacePathRegex": {
                        "regex": f"^{route.path}(/|$)(.*)",
                        "replacement": f"{route.engine_prefix}/$2",
                    }
                },
                opts=pulumi.ResourceOptions(parent=self),
            )
            annotations["traefik.ingress.kubernetes.io/router.middlewares"] = pulumi.Output.concat(
                self._namespace, f"-{instance}@kubernetescrd"
            )
            depends_on.append(middleware)
        return k8s.networking.v1.Ingress(
            f"{name}-{key}",
            metadata={**metadata(_APP, instance, namespace=self._namespace), "annotations": annotations},
            spec={
                "ingress_class_name": "traefik",
                "rules": [
                    {
                        "host": host,
                        "http": {
                            "paths": [
                                {
                                    "path": route.path,
                                    "path_type": "Prefix",
                                    "backend": {"service": {"name": service, "port": {"number": port}}},
                                }
                            ]
                        },
                    }
                ],
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=depends_on),
        )
