"""Rules about secrets that stand where everybody reads them. No message has a value."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from llm_policies.objects import POD_BEARING, Object
from llm_policies.pods import Container
from llm_policies.rule import Context, Rule, Said
from llm_policies.values import Value, each

_NAME = re.compile(
    r"(?i)(^|_)(token|secret|password|passwd|passphrase|api_?key|access_?key|private_?key|credentials?)(_|$)"
)
# A number of tokens, and where a secret's file is, are none.
_NO_SECRET = re.compile(r"(?i)(max|num|min|total|count|limit|budget|batched|_tokens$|_file$|_path$|_dir$|_name$|_url$)")
_VALUE = re.compile(r"\bhf_[A-Za-z0-9]{30,}|\bsk-[A-Za-z0-9_-]{20,}|-----BEGIN [A-Z ]*PRIVATE KEY-----")
_KEY_OPTIONS = ("--api-key", "--token", "--hf-token", "--auth-token")
_REFERENCE = re.compile(r"\$\([A-Za-z_][A-Za-z0-9_]*\)|\$\{?[A-Za-z_][A-Za-z0-9_]*\}?")
"""`$(NAME)` is Kubernetes' own, `$NAME` a shell's: the secret itself is elsewhere."""

_POD = """\
apiVersion: v1
kind: Pod
metadata: {name: chat}
spec:
  containers:
  - name: vllm
    image: vllm/vllm-openai:v0.33.0
"""


def _holds_secret(name: str, value: Value) -> bool:
    text = value.text()
    if not text or _REFERENCE.fullmatch(text):
        return False
    named = _NAME.search(name) is not None and _NO_SECRET.search(name) is None
    return named or _VALUE.search(text) is not None


def _in_env(item: Object, _: Context) -> Iterator[Said]:
    def of_data(pair: tuple[str, Value]) -> Iterator[Said]:
        name, value = pair
        if _holds_secret(name, value):
            yield f"key {name} holds a literal secret, readable with 'kubectl get configmap'; put it into a Secret."

    def of_container(container: Container) -> Iterator[Said]:
        def of_variable(pair: tuple[str, Value]) -> Iterator[Said]:
            name, value = pair
            if _holds_secret(name, value):
                yield (
                    f"{container.name}: env {name} holds a literal secret, readable with 'kubectl get pod'; use "
                    "valueFrom.secretKeyRef."
                )

        yield from each(container.environment, of_variable)

    if item.kind == "ConfigMap":
        yield from each(item.properties.get("data").pairs(), of_data)
    yield from each(item.pods, lambda pod: each(pod.containers, of_container))


SECRET_IN_ENV = Rule(
    name="secret-in-env",
    title="Secrets come from Secrets.",
    description=(
        "The value of a variable stands in the pod, in every revision of its workload, and in whatever keeps "
        "manifests; who may read pods has the key."
    ),
    remediation="Put it into a Secret, and write valueFrom.secretKeyRef in place of value.",
    severity="error",
    references=("polaris sensitiveContainerEnvVar", "kube-linter env-var-secret", "kubescape C-0012", "CIS 5.4.1"),
    of_object=_in_env,
    kinds=POD_BEARING | {"ConfigMap"},
    bad=_POD + "    env: [{name: HF_TOKEN, value: not-a-real-token}]\n",
    good=_POD + "    env: [{name: HF_TOKEN, valueFrom: {secretKeyRef: {name: hugging-face, key: token}}}]\n",
)


def _in_args(container: Container, _: Context) -> Iterator[Said]:
    words = [part for word in container.words for part in (word.split() if " " in word else [word])]
    for word, following in pairwise([*words, ""]):
        option, equals, value = word.partition("=")
        given = value if equals else following
        if (
            option.replace("_", "-") in _KEY_OPTIONS and given and not given.startswith("--")
        ):  # a key's own option is not looked at twice
            if not _REFERENCE.fullmatch(given.strip("\"'")):
                yield (
                    f"{container.name}: the value of {option} is a secret in the command line, readable with 'kubectl "
                    "get pod'; use VLLM_API_KEY, HF_TOKEN or another variable from a Secret."
                )
        elif _VALUE.search(word):
            yield (
                f"{container.name}: a secret stands in the command line, readable with 'kubectl get pod'; use a "
                "variable from a Secret."
            )


SECRET_IN_ARGS = Rule(
    name="secret-in-args",
    title="No secret stands in a command line.",
    description=(
        "Arguments are in the pod's manifest, in `ps` on the node and in the engine's own log, which prints them at "
        "its start."
    ),
    remediation="Set VLLM_API_KEY from a Secret, or write $(NAME) of a variable that comes from one.",
    severity="error",
    references=("vLLM docs/usage/security.md",),
    of_container=_in_args,
    bad=_POD + "    args: [org/model, --api-key=not-a-real-key]\n",
    good=_POD
    + """\
    args: [org/model]
    env: [{name: VLLM_API_KEY, valueFrom: {secretKeyRef: {name: api, key: key}}}]
""",
)


def _duplicates(container: Container, _: Context) -> Iterator[Said]:
    names = Counter(name for name, _ in container.environment)
    for name, times in names.items():
        if times > 1:
            often = "twice" if times == 2 else f"{times} times"
            yield f"{container.name}: {name} is set {often}; the last one wins. Take the others out."


DUPLICATE_ENV = Rule(
    name="duplicate-env",
    title="Each variable is set once.",
    description=(
        "Kubernetes takes the last of several without a word, and a merge of manifests may leave any of them last: "
        "what a reader sees is not what runs."
    ),
    remediation="Keep one of them.",
    severity="error",
    references=(
        "kube-score environment-variable-key-duplication",
        "kube-linter duplicate-env-var",
        "kubescape C-0295",
    ),
    of_container=_duplicates,
    bad=_POD + "    env: [{name: VLLM_LOGGING_LEVEL, value: INFO}, {name: VLLM_LOGGING_LEVEL, value: DEBUG}]\n",
    good=_POD + "    env: [{name: VLLM_LOGGING_LEVEL, value: INFO}]\n",
)

RULES = (SECRET_IN_ENV, SECRET_IN_ARGS, DUPLICATE_ENV)
