"""The program whose states and previews were recorded with the official provider: 14 kinds, four steps."""

import os
from pathlib import Path

import pulumi
import pulumi_kubernetes as k8s

step = pulumi.Config().require_int("step")
kubeconfig = pulumi.Output.secret(Path(os.environ["TEST_KUBECONFIG"]).read_text())
provider = k8s.Provider("lab", kubeconfig=kubeconfig, cluster_identifier="lab")


def options(**more):
    return pulumi.ResourceOptions(provider=provider, **more)


namespace = k8s.core.v1.Namespace("ns", metadata={"name": "oracle3"}, opts=options())


def named(name):
    return {"name": name, "namespace": namespace.metadata["name"]}


k8s.core.v1.NodePatch(
    "node",
    metadata={
        "name": "vm",
        "labels": {"oracle": f"s{step}"},
        "annotations": {"pulumi.com/patchForce": "true"},
    },
    opts=options(),
)
definition = k8s.apiextensions.v1.CustomResourceDefinition(
    "crd",
    metadata={"name": "gadgets.oracle.test"},
    spec={
        "group": "oracle.test",
        "names": {"kind": "Gadget", "plural": "gadgets", "singular": "gadget"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x_kubernetes_preserve_unknown_fields": True}},
            }
        ],
    },
    opts=options(),
)
k8s.core.v1.ConfigMap("auto", metadata={"namespace": namespace.metadata["name"]}, data={"a": str(step)}, opts=options())
fixed = {"a": str(min(step, 3))}
if step < 3:
    fixed["drop"] = "x"
k8s.core.v1.ConfigMap("fixed", metadata=named("fixed"), data=fixed, opts=options())
k8s.core.v1.ConfigMap("imm", metadata=named("imm"), immutable=True, data={"a": str(step)}, opts=options())
planted = pulumi.Output.secret(f"planted-{step}")
k8s.core.v1.Secret("sec", metadata=named("sec"), string_data={"key": planted}, opts=options())
claim = k8s.core.v1.PersistentVolumeClaim(
    "pvc",
    metadata=named("pvc"),
    spec={
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "local-path",
        "resources": {"requests": {"storage": "1Gi"}},
    },
    opts=options(),
)
app = "w" if step < 4 else "w4"
k8s.core.v1.Service(
    "svc",
    metadata=named("svc"),
    spec={"selector": {"app": "w"}, "ports": [{"port": 80, "targetPort": 8080}]},
    opts=options(),
)
k8s.batch.v1.Job(
    "job",
    metadata=named("job"),
    spec={
        "backoffLimit": 0,
        "template": {
            "spec": {
                "restartPolicy": "Never",
                "containers": [
                    {
                        "name": "j",
                        "image": "docker.io/rancher/mirrored-library-busybox:1.37.0",
                        "command": ["sh", "-c", f"echo step {min(step, 3)}"],
                    }
                ],
            }
        },
    },
    opts=options(),
)
k8s.networking.v1.Ingress(
    "ing",
    metadata=named("ing"),
    spec={
        "ingressClassName": "traefik",
        "rules": [
            {
                "host": "o.test",
                "http": {
                    "paths": [
                        {
                            "path": "/",
                            "pathType": "Prefix",
                            "backend": {"service": {"name": "svc", "port": {"number": 80}}},
                        }
                    ]
                },
            }
        ],
    },
    opts=options(),
)
k8s.autoscaling.v2.HorizontalPodAutoscaler(
    "hpa",
    metadata=named("hpa"),
    spec={
        "minReplicas": 1,
        "maxReplicas": 2,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "metrics": [
            {
                "type": "Pods",
                "pods": {
                    "metric": {"name": "vllm_num_requests_running"},
                    "target": {"type": "AverageValue", "averageValue": "50"},
                },
            }
        ],
    },
    opts=options(),
)
k8s.apiextensions.CustomResource(
    "gadget",
    api_version="oracle.test/v1",
    kind="Gadget",
    metadata=named("g"),
    spec={"size": step},
    opts=options(depends_on=[definition]),
)
k8s.apps.v1.Deployment(
    "web",
    metadata=named("web"),
    spec={
        "replicas": 1,
        "selector": {"matchLabels": {"app": app}},
        "strategy": {"type": "Recreate"},
        "template": {
            "metadata": {"labels": {"app": app}},
            "spec": {
                "containers": [
                    {
                        "name": "c",
                        "image": f"docker.io/lab/httpd:{min(step, 2)}",
                        "ports": [{"containerPort": 8080}],
                        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}},
                        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                    }
                ],
                "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim.metadata["name"]}}],
            },
        },
    },
    opts=options(ignore_changes=["spec.replicas"]),
)
