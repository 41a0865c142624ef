"""Rules about the token of the API that Kubernetes puts into pods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from llm_policies.examples import CONTAINERS, POD_HEAD
from llm_policies.labels import beside, by_name
from llm_policies.objects import POD_BEARING, Object, Stack
from llm_policies.pods import Pod
from llm_policies.rule import Context, Edit, Rule, Said
from llm_policies.values import Doubt, each

_MOUNTS = "automountServiceAccountToken"
_KUBERNETES_OWN = "default"
_UNUSED = (
    "pod mounts an API token it never uses, which is a way into the cluster for who takes it over; set "
    f"{_MOUNTS}: false."
)


def _account(pod: Pod) -> str:
    """The account of a pod. `serviceAccount` is its older name."""
    return pod.spec.get("serviceAccountName").text() or pod.spec.get("serviceAccount").text() or _KUBERNETES_OWN


def _token(item: Object, _: Context) -> Iterator[Said]:
    # Absent is true to Kubernetes.
    if item.kind == "ServiceAccount" and item.properties.get(_MOUNTS).boolean() is not False:
        yield (
            f"every pod of account '{item.name}' gets an API token unless it says otherwise; set {_MOUNTS}: false "
            "here, and true in the pods that ask the API."
        )

    yield from each(item.pods, lambda pod: [_UNUSED] if _takes_unused(pod) else [])


def _takes_unused(pod: Pod) -> bool:
    """Whether the pod itself lets a token in for an engine, which never asks the API; others may say that they do."""
    return pod.spec.get(_MOUNTS).boolean() is True and bool(pod.engines)


def _no_token(item: Object, _: Context) -> Iterator[Edit]:
    if item.kind == "ServiceAccount":
        yield Edit((_MOUNTS,), False)
    for path, pod in item.pods_with_paths():
        if _takes_unused(pod) or (pod.spec.get(_MOUNTS).boolean() is None and _account(pod) == _KUBERNETES_OWN):
            yield Edit((*path, "spec", _MOUNTS), False)


def _of_account(stack: Stack, _: Context) -> Iterator[tuple[Object, Said]]:
    """Pods that leave it to an account which is not among the objects: of the others the account is judged."""
    accounts = by_name(stack.of("ServiceAccount"))
    for item in stack.workloads():
        try:
            leaving = [pod for pod in item.pods if pod.spec.get(_MOUNTS).boolean() is None]
        except Doubt:
            continue  # told of the object alone
        judge = partial(_unjudged, item=item, accounts=accounts)
        yield from ((item, said) for said in each(leaving, judge))


def _unjudged(pod: Pod, item: Object, accounts: Mapping[str | None, Sequence[Object]]) -> Iterator[Said]:
    name = _account(pod)
    # Kubernetes makes its own in each namespace: one whose name is not known yet is another.
    unnamed = () if name == _KUBERNETES_OWN else accounts.get(None, ())
    found, unsure = beside(item, (*accounts.get(name, ()), *unnamed))
    if unsure:
        yield unsure[0][1]
    elif found is None:
        yield _UNUSED if name == _KUBERNETES_OWN else _unseen(name)


def _unseen(account: str) -> str:
    return (
        f"pod gets an API token if its account '{account}' gives one, and that account is not to be seen here; set "
        f"{_MOUNTS} in the pod: false, or true if it asks the API."
    )


SA_TOKEN = Rule(
    name="sa-token",
    title="Pods that do not ask the API have no token for it.",
    description=(
        "Kubernetes mounts the token of its service account into every pod. A model server never asks the API; who "
        "takes it over could. A pod of another program that does ask says so with "
        f"{_MOUNTS}: true. What a pod leaves to its account is judged at the account, where that is among the objects; "
        "Kubernetes' own `default` gives a token, and of others that are made elsewhere nobody who reads these objects "
        "knows."
    ),
    remediation=f"Set {_MOUNTS}: false in the pod and in its service account; true in a pod that asks the API.",
    severity="warn",
    references=("polaris automountServiceAccountToken", "CKV_K8S_38", "kubescape C-0034", "CIS 5.1.6"),
    of_object=_token,
    of_stack=_of_account,
    kinds=POD_BEARING | {"ServiceAccount"},
    remediate=_no_token,
    bad=POD_HEAD + CONTAINERS,
    good=POD_HEAD + f"  {_MOUNTS}: false\n" + CONTAINERS,
)

RULES = (SA_TOKEN,)
