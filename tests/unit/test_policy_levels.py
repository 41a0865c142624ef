"""Levels: what an environment says stays, what it does not say is strict, and what the engine is given is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import Deploy
from llm_policies.environment import PACK, engine_config, read_environment
from llm_policies.pack import RULES
from on_mocks import Raw
from small_stacks import VARIANTS

from cli.levels import read_levels
from cli.policies import environment_of, policy_config
from toolchain.paths import REPOSITORY
from toolchain.steps import StepFailed

FILES = sorted((REPOSITORY / "policies/levels").glob("*"))
every_file = pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.name))
SEVERITIES = {rule.name: rule.severity for rule in RULES}


def levels_of(config: Raw) -> dict[str, str]:
    return {name: said["enforcementLevel"] for name, said in config.items()}


def test_there_are_the_levels_of_both_environments_and_nothing_else() -> None:
    assert [file.name for file in FILES] == ["dev.yaml", "prod.yaml"]


@every_file
def test_levels_name_only_rules_that_there_are(file: Path) -> None:
    read_environment(read_levels(file), RULES)


@every_file
def test_every_rule_has_a_level_that_the_engine_knows(file: Path, deployed: Deploy) -> None:
    config = policy_config(read_levels(file), deployed(VARIANTS["spare-gpu"]).plan)
    assert set(levels_of(config)) == set(SEVERITIES)
    assert set(levels_of(config).values()) <= {"advisory", "mandatory", "remediate", "disabled"}


def test_dev_refuses_nothing_and_prod_refuses_what_is_an_error() -> None:
    dev, prod = (engine_config(read_environment(read_levels(file), RULES), RULES) for file in FILES)
    assert set(levels_of(dev).values()) == {"advisory"}
    strict = {name: "mandatory" if severity == "error" else "advisory" for name, severity in SEVERITIES.items()}
    assert levels_of(prod) == strict
    assert levels_of(engine_config(read_environment({}, RULES), RULES)) == strict, "nothing said is strict"


def test_a_level_stays_what_the_environment_says(deployed: Deploy) -> None:
    """Also of a rule that is told something of the plan, whatever else is said of it."""
    planned = deployed(VARIANTS["spare-gpu"]).plan
    rule, spare = "gpu-rollout-deadlock", {"spareGpusByWorkload": {"llm/chat": 2, "llm/help": 2}}

    def configured(**levels: Any) -> Raw:
        said: Raw = policy_config(levels, planned)[rule]
        return said

    assert configured() == spare | {"enforcementLevel": "mandatory"}
    assert configured(levels={"all": "advisory"}) == spare | {"enforcementLevel": "advisory"}
    assert configured(levels={"all": "advisory"}, rules={rule: "mandatory"})["enforcementLevel"] == "mandatory"
    both = {"level": "disabled", "spareGpus": 4}
    assert configured(rules={rule: both}) == spare | {"enforcementLevel": "disabled", "spareGpus": 4}
    own = {"spareGpusByWorkload": {"llm/chat": 0}}
    assert configured(rules={rule: own}) == own | {"enforcementLevel": "mandatory"}
    other = policy_config({"levels": {"all": "advisory"}, "rules": {"shm-too-small": "mandatory"}}, planned)
    assert other["shm-too-small"]["enforcementLevel"] == "mandatory"
    assert other["privileged"]["enforcementLevel"] == "advisory"


def test_pools_of_the_plan_are_told_unless_the_environment_names_its_own(deployed: Deploy) -> None:
    planned = deployed(VARIANTS["pool"]).plan
    found = policy_config({}, planned)[PACK]["pools"]
    assert {name: pool["gpus"] for name, pool in found.items()} == {"a": 4, "b": 4, "c": 1}
    assert found["c"]["timeSlices"] == 2
    own = {"site": {"gpus": 8}}
    assert set(policy_config({"pools": own}, planned)[PACK]["pools"]) == {"site"}


def test_exceptions_and_namespaces_arrive_as_they_are_written(deployed: Deploy) -> None:
    said = {"rule": "hostpath", "object": "Deployment/llm/*", "reason": "reads a driver", "owner": "ops"}
    levels = {
        "exceptions": [said | {"until": "2027-06-30"}],
        "namespaces": {"monitoring": {"run-as-non-root": "disabled"}, "sandbox": "advisory"},
    }
    config = policy_config(levels, deployed(VARIANTS["spare-gpu"]).plan)[PACK]
    assert config["exceptions"] == [said | {"until": "2027-06-30"}]
    assert config["namespaces"] == {"monitoring": {"run-as-non-root": "disabled"}, "sandbox": {"all": "advisory"}}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("levels: {error: strict}", "levels.error: 'strict' is not one of advisory, mandatory, remediate, disabled."),
        ("levels: {errors: advisory}", "levels.errors: is neither error, warn nor all"),
        ("rules: {nonsense: advisory}", "rules.nonsense: there is no such rule."),
        ("rules: [hostpath]", "rules: expected a mapping."),
        ("rules: {hostpath: {nonsense: 1}}", "rules.hostpath.nonsense: there is no such setting."),
        ("rules: {hostpath: off}", "rules.hostpath.level: False is not one of"),
        (
            "rules: {hostpath: {allowed: /models}}",
            "rules.hostpath.allowed is a text, not a list. Correct the setting.",
        ),
        ("rules: {hostpath: {allowed: [/a, 1]}}", "rules.hostpath.allowed[1] is 1, not a text. Correct the setting."),
        ("rules: {hostpath: {allowed: [null]}}", "rules.hostpath.allowed[0] is nothing. Correct the setting."),
        ("rules: {gpu-rollout-deadlock: {spareGpus: '2'}}", "rules.gpu-rollout-deadlock.spareGpus is '2', not a whole"),
        ("rules: {gpu-rollout-deadlock: {spareGpusByWorkload: [x]}}", "spareGpusByWorkload is a list, not a mapping."),
        ("rules: {runtime-class: {runtimeClass: [nvidia]}}", "rules.runtime-class.runtimeClass is a list, not a text."),
        (
            "pools: {a: {labels: [x]}}",
            "pools.a.labels: expected a mapping of texts, as Kubernetes has it; quote numbers.",
        ),
        ("pools: {a: {labels: {card: 1}}}", "pools.a.labels: expected a mapping of texts,"),
        ("pools: {a: {taints: 5}}", "pools.a.taints: expected a list such as [nvidia.com/gpu=present:NoSchedule]."),
        ("pools: {a: {taints: ''}}", "pools.a.taints: expected a list"),
        ("namespaces: {a: {nonsense: advisory}}", "namespaces.a.nonsense: there is no such rule."),
        ("exceptions: [{rule: hostpath}]", "exceptions[0]: says no object, owner, reason, until"),
        ("exceptions: [{rule: hostpath, until: soon}]", "exceptions[0]: 'soon' is not a day; write it as 2027-06-30."),
        ("exceptions: [{rule: hostpath, object: a}]", "exceptions[0].object: 'a' is no object's"),
        ("rules: {hostpth: disabled}", "rules.hostpth: there is no such rule; hostpath is meant?"),
        ("hostpath: advisory", "hostpath: there is no such setting; write one of levels, rules,"),
    ],
)
def test_what_is_wrong_is_told_by_its_path(written: str, said: str, deployed: Deploy, tmp_path: Path) -> None:
    file = tmp_path / "levels.yaml"
    file.write_text(written)
    with pytest.raises(StepFailed) as error:
        environment_of(read_levels(file), deployed(VARIANTS["spare-gpu"]).plan)
    assert said in str(error.value)


def test_a_setting_is_of_the_type_of_its_default_and_written_as_nothing_it_is_the_default() -> None:
    whole = {rule.name: {name: s.default for name, s in rule.settings.items()} for rule in RULES}
    assert read_environment({"rules": whole}, RULES).settings == whole
    nothing = {rule.name: dict.fromkeys(rule.settings) for rule in RULES}
    environment = read_environment({"rules": nothing}, RULES)
    assert {rule.name: environment.context(rule).settings for rule in RULES} == whole


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (b"- a", "levels.yaml: expected a mapping"),
        (b"a: [", "levels.yaml: is not YAML"),
        (b"levels: {}\nlevels: {}", "levels.yaml: line 2: 'levels' is written again"),
        (b"a: \xff", "levels.yaml: 'utf-8' codec can't decode"),
    ],
)
def test_what_is_no_file_of_levels_is_refused(written: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "levels.yaml"
    file.write_bytes(written)
    with pytest.raises(StepFailed) as error:
        read_levels(file)
    assert said in str(error.value)


def test_an_environment_without_a_file_is_strict(tmp_path: Path) -> None:
    assert read_levels(tmp_path / "no.yaml") == {}
