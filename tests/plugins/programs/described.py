"""Makes the objects that resources.json describes, so that one program serves for every graph that a test thinks of."""

import json
import re
from pathlib import Path

import pulumi
import pulumi_kubernetes as k8s

CLASSES = {
    "ConfigMap": k8s.core.v1.ConfigMap,
    "Secret": k8s.core.v1.Secret,
    "ServiceAccount": k8s.core.v1.ServiceAccount,
    "Service": k8s.core.v1.Service,
    "Namespace": k8s.core.v1.Namespace,
    "Deployment": k8s.apps.v1.Deployment,
    "CustomResourceDefinition": k8s.apiextensions.v1.CustomResourceDefinition,
}
made = {}


def resolved(value):
    """The value with {"$nameOf": key} as another object's name, as it turns out, and {"$secret": text} as a secret."""
    if isinstance(value, dict) and "$nameOf" in value:
        return made[value["$nameOf"]].metadata["name"]
    if isinstance(value, dict) and "$secret" in value:
        return pulumi.Output.secret(value["$secret"])
    if isinstance(value, dict):
        return {name: resolved(item) for name, item in value.items()}
    return [resolved(item) for item in value] if isinstance(value, list) else value


def snake_case(name):
    return re.sub(r"([A-Z])", r"_\1", name).lower()


for item in json.loads(Path("resources.json").read_text()):
    options = pulumi.ResourceOptions(
        parent=made.get(item["parent"]),
        depends_on=[made[key] for key in item["dependsOn"]],
        aliases=[pulumi.Alias(name=name) for name in item["aliases"]],
        ignore_changes=item["ignoreChanges"],
        delete_before_replace=item["deleteBeforeReplace"] or None,  # False would overrule the provider
    )
    arguments = resolved(item["arguments"])
    if item["kind"] in CLASSES:
        arguments = {snake_case(name): value for name, value in arguments.items()}
        made[item["key"]] = CLASSES[item["kind"]](item["name"], **arguments, opts=options)
    else:
        made[item["key"]] = k8s.apiextensions.CustomResource(
            item["name"], api_version="props.test/v1", kind=item["kind"], **arguments, opts=options
        )
