"""Which controller an Ingress is for: by what its class says where that is in the stack, or else by its name."""

from __future__ import annotations

from llm_policies.objects import Object, Stack

_VENDORS = ("traefik", "nginx", "haproxy", "alb")
"""What names of classes and controllers have of the controllers whose annotations are read."""

_IS_DEFAULT = "ingressclass.kubernetes.io/is-default-class"


def class_of(edge: Object) -> str:
    """The ingress class of an Ingress; empty where it leaves it to the cluster's default."""
    named = edge.properties.get("spec", "ingressClassName").text()
    return named or edge.properties.get("metadata", "annotations", "kubernetes.io/ingress.class").text() or ""


def is_default(ingress_class: Object) -> bool:
    """Whether an IngressClass is for what names none."""
    return ingress_class.properties.get("metadata", "annotations", _IS_DEFAULT).text() == "true"


def controller_of(edge: Object, stack: Stack) -> str | None:
    """The controller of an Ingress, as its class names it; None where that is not in the stack."""
    name = class_of(edge)
    for item in stack.of("IngressClass"):
        if item.name == name if name else is_default(item):
            return item.properties.get("spec", "controller").text()
    return None


def may_be(edge: Object, vendor: str, stack: Stack) -> bool:
    """Whether an Ingress may be for that controller: a class that has none of them in its name may be anybody's."""
    controller = controller_of(edge, stack)
    if controller is not None:
        return vendor in controller
    name = class_of(edge).lower()
    return vendor in name or not any(other in name for other in _VENDORS)
