"""LlmIngress: the one door through which requests come in."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
import pulumi_kubernetes as k8s
from pulumi_kubernetes.networking.v1 import IngressSpecArgsDict

from components._gateway import SERVICE_PORT, Gateway
from components._labels import GATEWAY, metadata
from components._made_once import api_key, certificate
from planning.ingress import IngressPlan

__all__ = ["LlmIngress"]


class LlmIngress(pulumi.ComponentResource):
    """One host of the ingress controller, and behind it a gateway of our own that does all the rest.

    Creates an Ingress, which leads everything under the host to the gateway and holds the certificate; the gateway
    (nginx with its ConfigMap, Secret of keys, Service, disruption budget, NetworkPolicy, service account without
    rights); keys and a certificate where the plan wants them generated. Deliberately does not create the ingress
    controller (k3s ships Traefik), nor anything that only one controller understands but the choice of its port.
    """

    urls: dict[str, pulumi.Output[str]]
    """URL by path, e.g. `https://llm.example.com/v1`; known once the models and the way to them answer."""

    api_keys: pulumi.Output[dict[str, str]] | None
    """Key by client, secret; None where nobody needs one."""

    certificate: pulumi.Output[str] | None
    """The certificate that clients must trust, as PEM; None unless it is self-signed."""

    def __init__(
        self,
        name: str,
        plan: IngressPlan,
        *,
        namespace: pulumi.Input[str],
        servers: Sequence[pulumi.Resource],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create the door.

        Args:
            name: Pulumi name of the component.
            plan: what to create.
            namespace: namespace of the model servers.
            servers: the model servers; the gateway waits for them, since it starts only when it knows their addresses.
            opts: apply to the component; children inherit through `parent`.
        """
        super().__init__("llm:index:LlmIngress", name, None, opts)
        self._name = name
        self._plan = plan
        self._namespace = namespace
        self.api_keys = self._keys()
        self.certificate = None
        gateway = Gateway(self, name, plan, api_keys=self.api_keys, namespace=namespace, after=servers)
        depends_on: list[pulumi.Resource] = [gateway.service]
        if plan.tls and plan.tls.self_signed:
            key, self.certificate = certificate(f"{name}-certificate", plan.host, parent=self)
            depends_on.append(self._tls_secret(plan.tls.secret_name, key, self.certificate))
        ingress = self._ingress(depends_on)
        self.urls = {
            route.path: pulumi.Output.concat(plan.url(route.path), ingress.id.apply(lambda _: ""))
            for route in plan.routes
        }
        self.register_outputs({"urls": self.urls})

    def _keys(self) -> pulumi.Output[dict[str, str]] | None:
        """Every client's key: set ones as secrets, all others generated."""
        if not self._plan.api_keys:
            return None
        keys = {
            client: (
                api_key(f"{self._name}-key-{client}", parent=self)
                if key is None
                else pulumi.Output.secret(key.get_secret_value())
            )
            for client, key in self._plan.api_keys.items()
        }
        return pulumi.Output.all(**keys)

    def _tls_secret(self, secret_name: str, key: pulumi.Output[str], shown: pulumi.Output[str]) -> k8s.core.v1.Secret:
        return k8s.core.v1.Secret(
            f"{self._name}-certificate",
            metadata=metadata(GATEWAY, GATEWAY, namespace=self._namespace, name=secret_name),
            type="kubernetes.io/tls",
            string_data={"tls.key": key, "tls.crt": shown},
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _ingress(self, depends_on: Sequence[pulumi.Resource]) -> k8s.networking.v1.Ingress:
        plan = self._plan
        # With a certificate plain HTTP is closed rather than redirected: by then the key has been sent.
        annotations = {"traefik.ingress.kubernetes.io/router.entrypoints": "websecure" if plan.tls else "web"}
        spec: IngressSpecArgsDict = {
            "ingress_class_name": "traefik",
            "rules": [
                {
                    "host": plan.host,
                    "http": {
                        "paths": [
                            {
                                "path": "/",
                                "path_type": "Prefix",
                                "backend": {"service": {"name": GATEWAY, "port": {"number": SERVICE_PORT}}},
                            }
                        ]
                    },
                }
            ],
        }
        if plan.tls:
            annotations["traefik.ingress.kubernetes.io/router.tls"] = "true"
            spec["tls"] = [{"hosts": [plan.host], "secret_name": plan.tls.secret_name}]
        return k8s.networking.v1.Ingress(
            self._name,
            metadata={**metadata(GATEWAY, GATEWAY, namespace=self._namespace), "annotations": annotations},
            spec=spec,
            opts=pulumi.ResourceOptions(parent=self, depends_on=depends_on),
        )
