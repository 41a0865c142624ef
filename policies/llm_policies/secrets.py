"""Rules about secrets that stand where everybody reads them. No message has a value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from llm_policies.command_lines import Word, command_lines
from llm_policies.containers import Container
from llm_policies.examples import POD
from llm_policies.objects import POD_BEARING, Object
from llm_policies.pods import CONTAINER_LISTS
from llm_policies.rule import Context, Rule, Said
from llm_policies.secret_names import is_reference, looks_secret, names_secret, value_may_be_secret
from llm_policies.values import Doubt, Value, each, hidden


def _holds_secret(name: str, value: Value) -> bool:
    text = hidden(value).text()
    if not text:
        return False
    # A part that is from elsewhere makes no secret of the rest that is not.
    by_name = names_secret(name) and value_may_be_secret(name, text) and not is_reference(text)
    return by_name or looks_secret(text)


def _name(entry: Value) -> str:
    name = entry.get("name")
    text = name.text()
    if text is None:
        raise name.malformed("a text")
    return text


def _in_env(item: Object, _: Context) -> Iterator[Said]:
    def of_data(pair: tuple[Value, str]) -> Iterator[Said]:
        data, name = pair
        if _is_marked(data, name) or _holds_secret(name, data.get(name)):
            yield f"key {name} holds a literal secret, readable with 'kubectl get configmap'; put it into a Secret."

    def of_container(container: Container) -> Iterator[Said]:
        def of_variable(entry: Value) -> Iterator[Said]:
            name = _name(entry)
            if _is_marked(entry, "value") or _holds_secret(name, entry.get("value")):
                yield (
                    f"{container.name}: env {name} holds a literal secret, readable with 'kubectl get pod'; use "
                    "valueFrom.secretKeyRef."
                )

        yield from each(container.value.get("env").items(), of_variable)

    if item.kind == "ConfigMap":
        for data in (item.properties.get("data"), item.properties.get("binaryData")):
            yield from each([(data, name) for name, _value in data.pairs()], of_data)
    else:
        yield from each(item.pods, lambda pod: each(CONTAINER_LISTS, lambda key: each(pod.listed(key), of_container)))


def _is_marked(holder: Value, key: str) -> bool:
    """Whether the program itself calls this one value a secret, and not merely all that it stands among."""
    return not holder.is_secret and holder.get(key).is_secret


SECRET_IN_ENV = Rule(
    name="secret-in-env",
    title="Secrets come from Secrets.",
    description=(
        "The value of a variable stands in the pod, in every revision of its workload, and in whatever keeps "
        "manifests; who may read pods has the key. A variable is judged by its name (HF_TOKEN, DB_PASSWORD; not "
        "MAX_TOKENS or TOKEN_FILE), by the look of its value (a token of Hugging Face or OpenAI, a private key, a "
        "password in a URL or in JSON), and by Pulumi's own mark of a secret."
    ),
    remediation="Put it into a Secret, and write valueFrom.secretKeyRef in place of value.",
    severity="error",
    references=("polaris sensitiveContainerEnvVar", "kube-linter env-var-secret", "kubescape C-0012", "CIS 5.4.1"),
    of_object=_in_env,
    kinds=POD_BEARING | {"ConfigMap"},
    bad=POD + "    env: [{name: HF_TOKEN, value: not-a-real-token}]\n",
    good=POD + "    env: [{name: HF_TOKEN, valueFrom: {secretKeyRef: {name: hugging-face, key: token}}}]\n",
)


def _in_args(container: Container, _: Context) -> Iterator[Said]:
    def of_line(line: tuple[str, list[Word] | Doubt]) -> Iterator[Said]:
        where, words = line
        if isinstance(words, Doubt):
            raise words
        given = list(_given(words))
        literal = dict.fromkeys(_literal_options(given))
        for option in literal:
            yield (
                f"{container.name}: the value of {option} is a secret in {where}, readable with 'kubectl get pod'; use "
                "VLLM_API_KEY, HF_TOKEN or another variable from a Secret."
            )
        for option in dict.fromkeys(_unread_variables(given)):
            yield (
                f"{container.name}: {option} in {where} names a variable that no shell reads, so its name is the key, "
                "for anyone to guess; write $(NAME)."
            )
        if not literal and looks_secret(" ".join(word.text for word in words)):
            yield (
                f"{container.name}: a secret stands in {where}, readable with 'kubectl get pod'; use a variable from a "
                "Secret."
            )

    yield from each(command_lines(container), of_line)


def _given(words: list[Word]) -> Iterator[tuple[str, Word]]:
    """Options that take a secret, and what they are given: `--api-key` of vLLM takes several."""
    for position, word in enumerate(words):
        option, equals, value = word.text.partition("=")
        if not (option.startswith("-") or (equals and option.isidentifier())) or not names_secret(
            option, at_the_end=True
        ):
            continue
        if equals:
            yield option, Word(_bare(value), word.in_shell)
            continue
        for following in words[position + 1 :]:
            if following.text.startswith("-"):
                break
            yield option, Word(_bare(following.text), following.in_shell)
            if option.replace("_", "-") != "--api-key" or following.in_shell:
                break


def _bare(text: str) -> str:
    """Without a shell's quotes."""
    return text.replace('"', "").replace("'", "")


def _literal_options(given: list[tuple[str, Word]]) -> Iterator[str]:
    return (
        option
        for option, value in given
        if value.text and not is_reference(value.text, in_shell=True) and value_may_be_secret(option, value.text)
    )


def _unread_variables(given: list[tuple[str, Word]]) -> Iterator[str]:
    return (
        option
        for option, value in given
        if not value.in_shell and is_reference(value.text, in_shell=True) and not is_reference(value.text)
    )


SECRET_IN_ARGS = Rule(
    name="secret-in-args",
    title="No secret stands in a command line.",
    description=(
        "Arguments are in the pod's manifest, in `ps` on the node and in the engine's own log, which prints them at "
        "its start. The commands of probes and of lifecycle hooks are judged like the container's own."
    ),
    remediation="Set VLLM_API_KEY from a Secret, or write $(NAME) of a variable that comes from one.",
    severity="error",
    references=("vLLM docs/usage/security.md",),
    of_container=_in_args,
    bad=POD + "    args: [org/model, --api-key=not-a-real-key]\n",
    good=POD
    + """\
    args: [org/model]
    env: [{name: VLLM_API_KEY, valueFrom: {secretKeyRef: {name: api, key: key}}}]
""",
)


def _duplicates(container: Container, _: Context) -> Iterator[Said]:
    names: Counter[str] = Counter()

    def count(entry: Value) -> Iterator[Said]:
        names[_name(entry)] += 1
        return iter(())

    yield from each(container.value.get("env").items(), count)
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
    bad=POD + "    env: [{name: VLLM_LOGGING_LEVEL, value: INFO}, {name: VLLM_LOGGING_LEVEL, value: DEBUG}]\n",
    good=POD + "    env: [{name: VLLM_LOGGING_LEVEL, value: INFO}]\n",
)

RULES = (SECRET_IN_ENV, SECRET_IN_ARGS, DUPLICATE_ENV)
