"""An autoscaler is switched on and off for a Deployment: who owns spec.replicas, and what becomes of the pods."""

from __future__ import annotations

from api_server import ApiServer
from workspace import Workspace

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
PROGRAM = """\
import pulumi
import pulumi_kubernetes as k8s

config = pulumi.Config()
autoscaled = config.get_bool("autoscaled")
born = [("born", None)] if config.get_bool("born") else []
for name, ignored in (("left-out", None), ("ignored", ["spec.replicas"]), *born):
    annotations = {"pulumi.com/skipAwait": "true"}
    if config.get_bool("force"):
        annotations["pulumi.com/patchForce"] = "true"
    k8s.apps.v1.Deployment(name, metadata={"name": name, "annotations": annotations},
        spec={"selector": {"matchLabels": {"app": name}}, **({} if autoscaled else {"replicas": 3}),
              "template": {"metadata": {"labels": {"app": name}},
                           "spec": {"containers": [{"name": "c", "image": config.require("image")}]}}},
        opts=pulumi.ResourceOptions(ignore_changes=ignored if autoscaled else None))
"""


def replicas(cluster: ApiServer) -> dict[str, int]:
    return {item["metadata"]["name"]: item["spec"]["replicas"] for item in cluster.get(DEPLOYMENTS)["items"]}


def autoscale(cluster: ApiServer, number: int) -> None:
    """As the autoscaler does it: by the subresource, under the controller manager's name."""
    for name in replicas(cluster):
        path = f"{DEPLOYMENTS}/{name}/scale?fieldManager=kube-controller-manager"
        cluster.request("PATCH", path, {"spec": {"replicas": number}}, "application/merge-patch+json")


def test_an_autoscaler_keeps_what_it_has_set_and_gives_it_back_by_force(
    workspace: Workspace, cluster: ApiServer
) -> None:
    workspace.program(PROGRAM).configure(image="one").up()
    assert replicas(cluster) == {"left-out": 3, "ignored": 3}

    # A field that nobody asks for any more goes back to the server's default; one that is ignored stays.
    workspace.configure(autoscaled="true", born="true").up()
    assert replicas(cluster) == {"left-out": 1, "ignored": 3, "born": 1}

    autoscale(cluster, 5)
    workspace.configure(image="two").up()
    assert replicas(cluster) == {"left-out": 5, "ignored": 5, "born": 5}

    # A number that was once applied has no owner after it was left out, and the server notes none for the autoscaler.
    # Of what was ignored the state knows 3, as the program says now: nothing is done. What never had one conflicts.
    said = workspace.configure(autoscaled="false").up_fails()
    assert said.count('conflict with "kube-controller-manager" with subresource "scale"') == 1
    assert ".spec.replicas" in said
    assert replicas(cluster) == {"left-out": 3, "ignored": 5, "born": 5}
    # The annotation is a change too, so that the whole object is applied.
    workspace.configure(force="true").up()
    assert replicas(cluster) == {"left-out": 3, "ignored": 3, "born": 3}
