"""Rules about the token of the API that Kubernetes puts into pods."""

from __future__ import annotations

from collections.abc import Iterator

from llm_policies.objects import POD_BEARING, Object, Stack
from llm_policies.pods import Pod
from llm_policies.rule import Context, Edit, Rule, Said
from llm_policies.values import Doubt, each

_SEED = """\
apiVersion: v1
kind: Pod
metadata: {name: chat}
spec:
"""
_CONTAINER = """\
  containers:
  - name: vllm
    image: vllm/vllm-openai:v0.33.0
"""
_MOUNTS = "automountServiceAccountToken"


def _account(pod: Pod) -> str:
    """The account of a pod; Kubernetes' own is `default`. `serviceAccount` is its older name."""
    return pod.spec.get("serviceAccountName").text() or pod.spec.get("serviceAccount").text() or "default"


def _token(item: Object, _: Context) -> Iterator[Said]:
    if item.kind == "ServiceAccount":
        # Absent is true to Kubernetes.
        if item.properties.get(_MOUNTS).boolean() is not False:
            yield (
                f"every pod of account '{item.name}' gets an API token unless it says otherwise; set "
                f"{_MOUNTS}: false here, and true in the pods that ask the API."
            )
        return

    def judge(pod: Pod) -> Iterator[Said]:
        if _gets_unused(pod):
            yield (
                "pod mounts an API token it never uses, which is a way into the cluster for who takes it over; set "
                f"{_MOUNTS}: false."
            )

    yield from each(item.pods, judge)


def _gets_unused(pod: Pod) -> bool:
    """Whether the pod itself lets a token in: an engine never asks the API, others may say that they do."""
    mounts = pod.spec.get(_MOUNTS).boolean()
    if mounts is None:
        return _account(pod) == "default"
    return mounts and bool(pod.engines)


def _no_token(item: Object, _: Context) -> Iterator[Edit]:
    if item.kind == "ServiceAccount":
        yield Edit((_MOUNTS,), False)
    for path, pod in zip(item.pod_paths, item.pods, strict=True):
        if _gets_unused(pod):
            yield Edit((*path, "spec", _MOUNTS), False)


SA_TOKEN = Rule(
    name="sa-token",
    title="Pods that do not ask the API have no token for it.",
    description=(
        "Kubernetes mounts the token of its service account into every pod. A model server never asks the API; who "
        "takes it over could. A pod of another program that does ask says so with "
        f"{_MOUNTS}: true. What a pod leaves to an account of its own is judged at the account."
    ),
    remediation=f"Set {_MOUNTS}: false in the pod and in its service account.",
    severity="warn",
    references=("polaris automountServiceAccountToken", "CKV_K8S_38", "kubescape C-0034", "CIS 5.1.6"),
    of_object=_token,
    kinds=POD_BEARING | {"ServiceAccount"},
    remediate=_no_token,
    bad=_SEED + _CONTAINER,
    good=_SEED + f"  {_MOUNTS}: false\n" + _CONTAINER,
)


def _of_account(stack: Stack, _: Context) -> Iterator[tuple[Object, Said]]:
    accounts = {(account.namespace, account.name) for account in stack.of("ServiceAccount")}
    for item in stack.workloads():

        def judge(pod: Pod, item: Object = item) -> Iterator[Said]:
            if pod.spec.get(_MOUNTS).boolean() is not None:
                return
            account = _account(pod)
            if account != "default" and (item.namespace, account) not in accounts:
                yield (
                    f"pod gets an API token if its account '{account}' gives one, and that account is not to be seen "
                    f"here; set {_MOUNTS} in the pod: false, or true if it asks the API."
                )

        try:
            for said in each(item.pods, judge):
                yield item, said
        except Doubt as doubt:
            yield item, doubt


SA_TOKEN_OF_ACCOUNT = Rule(
    name="sa-token-of-account",
    title="Whether a pod has a token for the API is to be seen.",
    description=(
        "A pod that says nothing gets the token if its account gives one, as accounts do unless told otherwise. Of an "
        "account that is made elsewhere nobody who reads these objects knows."
    ),
    remediation=f"Set {_MOUNTS} in the pod, or deploy the account with it.",
    severity="warn",
    references=("CKV_K8S_38", "kubescape C-0034", "CIS 5.1.6"),
    of_stack=_of_account,
    bad=_SEED + "  serviceAccountName: shared\n" + _CONTAINER,
    good=f"""\
apiVersion: v1
kind: ServiceAccount
metadata: {{name: shared}}
{_MOUNTS}: false
---
"""
    + _SEED
    + "  serviceAccountName: shared\n"
    + _CONTAINER,
)

RULES = (SA_TOKEN, SA_TOKEN_OF_ACCOUNT)
