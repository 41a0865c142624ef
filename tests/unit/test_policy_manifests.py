"""Manifests as `llmctl policy check` reads them: as kubectl does, and nothing passes that cannot be read."""

from __future__ import annotations

import pytest
from checked import SERVER, found_in
from cpu_time import cpu_seconds
from llm_policies.values import SECRET, SIGNATURE, UNKNOWNS

from cli.kubectl_yaml import plain
from cli.manifests import Manifest, Skipped, Unreadable, of_text

TWICE = "so one of the two would be lost. Take one out."
FOREIGN = "has a mark by which Pulumi tells secrets and unknowns, which no manifest has. Take it out."


def problems(text: str) -> list[str]:
    return [str(found) for found in of_text(text, "a.yaml") if isinstance(found, Unreadable)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [", "a.yaml:1: is not YAML: did not find expected node content."),
        ("kind: Pod\n\tb: c", "a.yaml:2: is not YAML: found a tab character that violates indentation."),
        ("a: &a [*a]", "a.yaml:1: has an alias of what it stands in, or too many levels by aliases."),
        ("---\na: 1\n---\nb: 1\nb: 2", f"a.yaml:5: 'b' is written again, {TWICE}"),
        ("[" * 5000, "a.yaml: has more levels within each other than any object."),
        ("- " * 5000, "a.yaml:1: has more than 100 levels within each other."),
        ("{" * 5000, "a.yaml:1: has more than 100 levels within each other."),
        ('{"a":' * 5000 + "1" + "}" * 5000, "a.yaml: has more levels within each other than any object."),
        ('{"a":' * 200 + "1" + "}" * 200, "a.yaml: has more than 100 levels within each other."),
        ('{"a": 1, "a": 2}', f"a.yaml: 'a' is written twice in one mapping, {TWICE}"),
        ("? [a]\n: b", "a.yaml:1: has a key that is a list or a mapping; Kubernetes knows texts alone."),
        ("a: {<<: 1}", "a.yaml:1: merges with << what is no mapping."),
        ("apiVersion: v1\nkind: 1", "a.yaml:1: kind and apiVersion must both be texts. Correct them."),
        ("kind: Pod\nspec: {}", "a.yaml:1: has no apiVersion, so kubectl refuses it. Add it."),
        ("kind: Pod\napiVersion: 1", "a.yaml:1: kind and apiVersion must both be texts. Correct them."),
        (
            "a:\n\tb: c",
            "a.yaml:2: is not YAML: found character that cannot start any token. It is a tab: indent by blanks.",
        ),
        ("a:\n  @b: c", "a.yaml:2: is not YAML: found character that cannot start any token."),
        (f"a: {sorted(UNKNOWNS)[0]}", f"a.yaml:1: {FOREIGN}"),
        (f"a: {{{SIGNATURE}: {SECRET}}}", f"a.yaml:1: {FOREIGN}"),
        (f'{{"a": "{sorted(UNKNOWNS)[0]}"}}', f"a.yaml: {FOREIGN}"),
        ('{"a": NaN}', "a.yaml: NaN is no number in JSON."),
        ("a: \x00", "a.yaml:1: is not YAML: it has a character that YAML does not allow."),
        (
            "kind: Pod\nmetadata:\n  name: {{ .Values.name }}\n  {{- with .Values.x }}",
            "a.yaml:4: is not YAML: could not find expected ':'. It looks like a chart's template: give what "
            "`helm template` prints.",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_with_its_line(text: str, why: str) -> None:
    assert problems(text) == [why]
    assert found_in(text).exit_code("never") == 2


def test_aliases_of_aliases_end() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with cpu_seconds(10):
        [problem] = problems(bomb)
        assert problem.endswith("has more than 1000000 values, aliases counted.")


def test_one_document_that_is_wrong_does_not_hide_the_others() -> None:
    checked = found_in(f"a: [\n---\n{SERVER}---\nb: c: d\n", rules="image-tag-mutable")
    assert [f.line for f in checked.findings] == [12]
    assert [u.line for u in checked.unreadable] == [1, 23]
    assert checked.exit_code("never") == 2


def test_aliases_merges_and_blocks_are_read_as_kubectl_does() -> None:
    assert plain("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}") == {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}
    assert plain("[yes, 'yes', 0o17, 017, 0x1F, 1e3, ~, 12:30, 2026-01-01, .5, 0x_, No]") == [
        *(True, "yes", 15, 15, 31, 1000.0, None, "12:30", "2026-01-01", 0.5, "0x_", False)
    ]
    tagged = "[!!str 8000, !!str yes, !!str , !!str '1', !!int '8', !!bool \"true\", !!null null, !x 5, &a 5, 1e3, '5']"
    assert plain(tagged) == ["8000", "yes", "", "1", 8, True, None, "5", 5, 1000.0, "5"]
    [found] = of_text("kind: ConfigMap\napiVersion: v1\ndata:\n  a: |\n    b\n     ---\n    c: [\n", "x")
    assert isinstance(found, Manifest)
    assert found.data["data"] == {"a": "b\n ---\nc: [\n"}


@pytest.mark.parametrize(
    ("text", "file", "skipped"),
    [
        ("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization", "k/kustomization.yaml", True),
        ("resources: [a.yaml]", "kustomization.yml", True),
        ("apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization", "k/kustomization.yaml", False),
    ],
)
def test_what_is_kustomizes_is_skipped_with_what_to_do(text: str, file: str, skipped: bool) -> None:
    [found] = of_text(text, file)
    told = Skipped(file=file, line=1, why="of kustomize: check what `kubectl kustomize` makes of its folder")
    assert (found == told) is skipped


@pytest.mark.parametrize(
    "text", ["replicas: 1\nimage: {tag: x}", "- a\n- b", "just words", "apiVersion: v2\nname: chart"]
)
def test_what_is_no_object_is_skipped_with_a_word(text: str) -> None:
    assert list(of_text(text, "values.yaml")) == [
        Skipped(file="values.yaml", line=1, why="no Kubernetes object: it has no kind and apiVersion")
    ]
