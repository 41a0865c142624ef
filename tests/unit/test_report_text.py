"""Foreign text in the report: harmless to GitHub's own parser, and never a secret."""

from __future__ import annotations

import base64
import html
import json
import re
from typing import Any

import cmarkgfm
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from report.comment import comment
from report.escaping import LONGEST, around_difference, cell, code
from report.masking import SECRET, SECRET_SIGNATURE, SIGNATURE, UNKNOWN, Hidden, Scrubber, is_secret_name, masked
from report.preview import read_preview

_DANGEROUS = st.text(alphabet=st.sampled_from("`|\\<>@#*_[]()!&;:-+~$ \n\r\tab1\u202e\u200b"), max_size=60)
_TEXTS = _DANGEROUS | st.text(max_size=60)


def rendered(markdown: str) -> str:
    """What GitHub's own parser makes of it."""
    result: str = cmarkgfm.github_flavored_markdown_to_html(markdown)
    return result


def without_code(page: str) -> str:
    return re.sub(r"<code>.*?</code>", "CODE", page, flags=re.S)


# --- Markdown ---


@given(_TEXTS)
@example("a\\|b")
@example("`")
@example("``` `x` ```")
@example("@everyone <img src=x onerror=y>")
@example("\n| a | b |\n| --- | --- |")
@example("\r\n\r\n# Heading")
def test_a_value_is_code_and_nothing_else_in_a_table(text: str) -> None:
    page = rendered(f"| a | b |\n| --- | --- |\n| {cell(text)} | end |\n")
    row = page.partition("<tbody>")[2].partition("</tbody>")[0]
    told = without_code(row).replace("<em>(empty)</em>", "CODE").replace("<em>(blank)</em>", "CODE")
    assert "".join(told.split()) == "<tr><td>CODE</td><td>end</td></tr>"


@given(_TEXTS)
@example("](http://x) ")
@example("- [ ] x")
def test_a_value_is_code_and_nothing_else_in_a_list(text: str) -> None:
    told = without_code(rendered(f"- {code(text)}: end\n"))
    told = told.replace("<em>(empty)</em>", "CODE").replace("<em>(blank)</em>", "CODE")
    assert "".join(told.split()) == "<ul><li>CODE:end</li></ul>"


@given(st.text(alphabet=st.characters(codec="ascii", categories=("L", "N", "P", "S")), min_size=1, max_size=60))
def test_a_value_is_told_letter_by_letter(text: str) -> None:
    page = rendered(f"| a |\n| --- |\n| {cell(text)} |\n")
    [told] = re.findall(r"<code>(.*?)</code>", page, re.S)
    assert html.unescape(told) == text


@given(st.text(alphabet="xyz", min_size=LONGEST + 1, max_size=LONGEST * 3))
def test_a_long_value_is_cut_and_its_length_told(text: str) -> None:
    assert code(text) == f"`{text[:LONGEST]}… ({len(text)} characters)`"


def test_of_two_long_values_the_difference_is_seen() -> None:
    same = "s" * 500
    old, new = around_difference(same + "OLD" + same, same + "NEW" + same)
    assert "OLD" in code(old)
    assert "NEW" in code(new)


def test_nothing_of_a_hostile_preview_is_markup() -> None:
    hostile = "</table><img src=x> @owner/team [a](javascript:x) | ` ``\n\n# H\n<!-- llm-serving-preview: prod -->"
    state = {"custom": True, "type": "kubernetes:core/v1:ConfigMap", "inputs": {"metadata": {"name": hostile}}}
    step = {
        "op": "update",
        "urn": "urn:pulumi:dev::p::kubernetes:core/v1:ConfigMap::x",
        "oldState": state | {"inputs": {"metadata": {"name": hostile}, "data": {hostile: "1"}}},
        "newState": state | {"inputs": {"metadata": {"name": hostile}, "data": {hostile: hostile}}},
    }
    document = {"steps": [step], "diagnostics": [{"message": hostile, "severity": "warning"}]}
    text = comment(read_preview(json.dumps(document)), stack="dev")
    page = without_code(rendered(text))
    assert "<img" not in page
    assert "@owner" not in page
    assert "<a " not in page
    assert page.count("<h") == 3, "the headline, changes and warnings"
    assert [line for line in text.splitlines() if line.startswith("<!--")] == ["<!-- llm-serving-preview: dev -->"]


# --- secrets ---


@pytest.mark.parametrize(
    "name",
    [
        *("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "VLLM_API_KEY", "DB_PASSWORD", "PASSWORD_OLD", "K3S_TOKEN"),
        *("apiKey", "apiKeys", "clientSecret", "accessToken", "--api-key", "--hf-token", "tls.key", "passphrase"),
    ],
)
def test_a_secrets_name_is_known(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "--max-num-batched-tokens",
            "max_tokens",
            "tokenizer",
            "key",
            "topologyKey",
            "secretName",
            "imagePullSecrets",
        ),
        *("monkey", "matchLabelKeys", "", "replicas", "KEEP_ALIVE", "secretKeyRef", "OLLAMA_KEEP_ALIVE"),
    ],
)
def test_other_names_are_not_taken_for_a_secrets(name: str) -> None:
    assert not is_secret_name(name)


_MARKER = "planted-marker-" + "x" * 8

_PLACES: dict[str, tuple[str, Any]] = {
    "data of a Secret": ("Secret", {"data": {"a": base64.b64encode(_MARKER.encode()).decode()}}),
    "text of a Secret": ("Secret", {"stringData": {"a": _MARKER}}),
    "annotation of a Secret": ("Secret", {"metadata": {"name": "a", "annotations": {"last": _MARKER}}}),
    "anything else of a Secret": ("Secret", {"other": [{"a": _MARKER}]}),
    "marked by Pulumi": ("ConfigMap", {"data": {"a": {SIGNATURE: SECRET_SIGNATURE, "plaintext": _MARKER}}}),
    "environment": ("Deployment", {"spec": {"env": [{"name": "HF_TOKEN", "value": _MARKER}]}}),
    "option and value": ("Deployment", {"spec": {"args": ["--api-key", _MARKER]}}),
    "several values": ("Deployment", {"spec": {"args": ["--api-key", "b", _MARKER, "--port", "80"]}}),
    "option with value": ("Deployment", {"spec": {"args": [f"--api-key={_MARKER}"]}}),
    "named so": ("ConfigMap", {"data": {"adminPassword": _MARKER}}),
    "list named so": ("ConfigMap", {"apiKeys": [_MARKER]}),
    "in a script": ("Command", {"create": f"curl -sfL https://get.k3s.io | K3S_TOKEN={_MARKER} sh -"}),
    "in a URL": ("ConfigMap", {"data": {"url": f"postgres://user:{_MARKER}@db/x"}}),
    "in a header": ("ConfigMap", {"data": {"header": f"Authorization: Bearer {_MARKER}"}}),
}


@pytest.mark.parametrize("place", _PLACES)
@pytest.mark.parametrize("operation", ["create", "update", "replace", "delete"])
def test_a_secret_is_never_told_wherever_it_is(place: str, operation: str) -> None:
    kind, properties = _PLACES[place]
    told = _told(kind, properties, operation, also=f"saw {_MARKER}" if "in a" not in place else "")
    assert _MARKER not in told
    assert base64.b64encode(_MARKER.encode()).decode() not in told
    if operation in ("update", "replace"):
        assert SECRET in told, "that something changes is told"


def _told(kind: str, properties: dict[str, Any], operation: str, *, also: str = "") -> str:
    state = {"custom": True, "type": f"kubernetes:core/v1:{kind}"}
    step = {
        "op": operation,
        "urn": f"urn:pulumi:dev::p::kubernetes:core/v1:{kind}::x",
        "oldState": {**state, "inputs": {"a": 1} if operation != "delete" else properties},
        "newState": {**state, "inputs": properties},
    }
    document = {"steps": [step], "diagnostics": [{"message": also, "severity": "warning"}]}
    return comment(read_preview(json.dumps(document)), stack="dev")


_KEYS = st.sampled_from(["a", "name", "value", "data", "args", "API_KEY", "spec", "env"])
_TREES = st.recursive(
    st.just(_MARKER) | st.integers() | st.none() | st.sampled_from(["--api-key", "--x=1", UNKNOWN]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(_KEYS, _TREES, max_size=4), st.sampled_from(["create", "update", "replace", "delete"]))
def test_nothing_of_a_secret_is_told_whatever_its_shape(properties: dict[str, Any], operation: str) -> None:
    assert _MARKER not in _told("Secret", properties, operation)


@given(_TREES, st.sampled_from(["update", "replace"]))
def test_nothing_that_pulumi_marked_is_told_whatever_its_shape(tree: Any, operation: str) -> None:
    marked = {SIGNATURE: SECRET_SIGNATURE, "value": tree}
    assert _MARKER not in _told("ConfigMap", {"data": {"a": [marked], "b": marked}}, operation)


def test_two_hidden_values_can_be_told_apart_but_not_read() -> None:
    old, new = (masked("x:y:ConfigMap", {"apiKey": value})["apiKey"] for value in ("one", "two"))
    assert old != new
    assert str(old) == str(new) == SECRET
    assert "one" not in repr(old)


def test_short_texts_are_not_looked_for_elsewhere() -> None:
    """`a` is a secret somewhere, and a letter everywhere else."""
    assert Scrubber(["a", "longer-than-that"])("a banana, longer-than-that") == f"a banana, {SECRET}"
    assert str(Hidden("x", "--api-key=")) == f"--api-key={SECRET}"
