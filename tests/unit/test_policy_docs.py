"""The policies' pages: one for each rule, as the rule is now, and examples that work as they are written."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import cmarkgfm
import pytest
from llm_policies.environment import read_environment
from llm_policies.exceptions import annotated
from llm_policies.objects import of_manifest
from llm_policies.pack import RULES
from llm_policies.rule import Rule
from llm_policies.values import Doubt

from cli.kubectl_yaml import plain
from cli.levels import read_levels
from cli.policy_pages import files, page, write
from toolchain.paths import REPOSITORY

DOCS = REPOSITORY / "docs"
GUIDE = (DOCS / "policies.md").read_text()

every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.name))


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)


def test_the_committed_pages_are_current() -> None:
    """`llmctl policy docs` writes them."""
    wanted = files(RULES, DOCS)
    assert {file.name for file in (DOCS / "policies").iterdir()} == {f"{rule.name}.md" for rule in RULES}
    assert [file.name for file, text in wanted.items() if file.read_text() != text] == []


@every_rule
def test_a_page_says_everything_of_its_rule(rule: Rule) -> None:
    text = page(rule)
    told = (rule.title, rule.description, rule.remediation, rule.bad, rule.good, *rule.references)
    assert [part for part in told if part not in text] == []
    for name, setting in rule.settings.items():
        assert f"| `{name}` | `{json.dumps(setting.default, sort_keys=True)}` | {setting.description} |" in text


@every_rule
def test_a_page_is_what_githubs_parser_takes_it_for(rule: Rule) -> None:
    """No part of a rule is markup of its own: a table stays one, and nothing is HTML."""
    html = cmarkgfm.github_flavored_markdown_to_html(page(rule))
    assert html.count("<table>") == 1 + bool(rule.settings)
    assert html.count("<h2>") == 4 + bool(rule.settings)
    assert html.count('lang="yaml"') == 2
    rows = re.findall(r"<tr>\n(.*?)</tr>", html, re.DOTALL)
    assert all(row.count("<t") == 3 for row in rows)


def test_pages_of_rules_that_are_gone_go(tmp_path: Path) -> None:
    (tmp_path / "policies.md").write_text(GUIDE)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "gone.md").write_text("x")
    touched = write(RULES[:2], tmp_path)
    assert {file.name for file in (tmp_path / "policies").iterdir()} == {f"{rule.name}.md" for rule in RULES[:2]}
    assert tmp_path / "policies" / "gone.md" in touched
    assert write(RULES[:2], tmp_path) == []


def test_the_guides_own_words_are_kept(tmp_path: Path) -> None:
    (tmp_path / "policies.md").write_text(GUIDE)
    write(RULES[:1], tmp_path)
    assert (tmp_path / "policies.md").read_text().partition("<!-- rules")[0] == GUIDE.partition("<!-- rules")[0]
    (tmp_path / "policies.md").write_text("# nothing")
    with pytest.raises(ValueError, match="between which the table of rules stands"):
        write(RULES[:1], tmp_path)


def test_the_guides_levels_are_levels(tmp_path: Path) -> None:
    [example] = [block for block in blocks("yaml") if block.startswith("# levels.yaml")]
    (tmp_path / "levels.yaml").write_text(example)
    environment = read_environment(read_levels(tmp_path / "levels.yaml"), RULES)
    assert environment.pools is not None
    assert len(environment.exceptions) == 1
    remediated = [rule for rule in RULES if environment.levels[rule.name] == "remediate"]
    assert [rule.remediate is not None for rule in remediated] == [True]


def test_the_guides_annotation_is_an_exception() -> None:
    [(name, text)] = re.findall(r'`(llm-policies/\S+): "(until .*?)"`', GUIDE)
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "annotations": {name: text}}}
    mistakes: list[str | Doubt] = []
    [found] = annotated(of_manifest(document)[0], mistakes)
    assert (found.rule, mistakes) == ("hostpath", [])
    assert found.rule in {rule.name for rule in RULES}


def test_the_guides_workflow_meets_githubs_schema(tmp_path: Path) -> None:
    [workflow] = [block for block in blocks("yaml") if block.startswith("name: policies")]
    assert plain(workflow)
    (tmp_path / "policies.yaml").write_text(workflow)
    schema = ("--builtin-schema", "vendor.github-workflows")
    command = [sys.executable, "-m", "check_jsonschema", *schema, str(tmp_path / "policies.yaml")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_the_guides_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", GUIDE):
        assert (DOCS / target).is_file(), target
