"""The kinds that come with Kubernetes: their groups and versions, and which of them have no namespace.

Asked where the API server cannot say: it is not there, or the kind's definition is only about to be made.
"""

from __future__ import annotations

_VERSIONS: dict[str, tuple[str, ...]] = {
    "": ("v1",),
    "admissionregistration.k8s.io": ("v1", "v1alpha1", "v1beta1"),
    "apiextensions.k8s.io": ("v1", "v1beta1"),
    "apiregistration.k8s.io": ("v1", "v1beta1"),
    "apps": ("v1", "v1beta1", "v1beta2"),
    "autoscaling": ("v1", "v2", "v2beta1", "v2beta2"),
    "batch": ("v1", "v1beta1", "v2alpha1"),
    "certificates.k8s.io": ("v1", "v1alpha1", "v1beta1"),
    "coordination.k8s.io": ("v1", "v1alpha1", "v1alpha2", "v1beta1"),
    "discovery.k8s.io": ("v1", "v1beta1"),
    "events.k8s.io": ("v1", "v1beta1"),
    "extensions": ("v1beta1",),
    "flowcontrol.apiserver.k8s.io": ("v1", "v1alpha1", "v1beta1", "v1beta2", "v1beta3"),
    "networking.k8s.io": ("v1", "v1alpha1", "v1beta1"),
    "node.k8s.io": ("v1", "v1alpha1", "v1beta1"),
    "policy": ("v1", "v1beta1"),
    "rbac.authorization.k8s.io": ("v1", "v1alpha1", "v1beta1"),
    "resource.k8s.io": ("v1", "v1alpha1", "v1alpha2", "v1alpha3", "v1beta1", "v1beta2"),
    "scheduling.k8s.io": ("v1", "v1alpha1", "v1alpha2", "v1beta1"),
    "storage.k8s.io": ("v1", "v1alpha1", "v1beta1"),
    "storagemigration.k8s.io": ("v1alpha1", "v1beta1"),
}
_GROUP_VERSIONS = frozenset(
    f"{group}/{version}" if group else version for group, versions in _VERSIONS.items() for version in versions
)
_WITHOUT_NAMESPACE = frozenset(
    {
        "APIService",
        "CSIDriver",
        "CSINode",
        "CertificateSigningRequest",
        "ClusterRole",
        "ClusterRoleBinding",
        "ClusterTrustBundle",
        "ComponentStatus",
        "CustomResourceDefinition",
        "DeviceClass",
        "DeviceTaintRule",
        "FlowSchema",
        "IPAddress",
        "IngressClass",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "MutatingWebhookConfiguration",
        "Namespace",
        "Node",
        "PersistentVolume",
        "PriorityClass",
        "PriorityLevelConfiguration",
        "ResourceSlice",
        "RuntimeClass",
        "ServiceCIDR",
        "StorageClass",
        "StorageVersionMigration",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
        "VolumeAttachment",
        "VolumeAttributesClass",
    }
)

DEFINITION = "CustomResourceDefinition"


def built_in(api_version: str) -> bool:
    """Whether `api_version` comes with Kubernetes; `gateway.networking.k8s.io/v1` does not, for all its name."""
    return api_version in _GROUP_VERSIONS


def namespaced_by_name(api_version: str, kind: str) -> bool:
    """Whether a kind has a namespace, without asking: right for built-in kinds; custom ones are taken to have one."""
    return not (built_in(api_version) and kind in _WITHOUT_NAMESPACE)


def is_definition(api_version: object, kind: object) -> bool:
    """Whether an object is a CustomResourceDefinition."""
    return kind == DEFINITION and str(api_version).startswith("apiextensions.k8s.io/")
