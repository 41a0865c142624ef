"""The lab's spec: what is written comes back, and what it cannot be is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lab.spec import LabSpec, NodeSpec, Role
from toolchain.steps import StepFailed

_roles: st.SearchStrategy[Role] = st.sampled_from(["vllm", "ollama", "devicePlugin"])
_nodes = st.builds(
    NodeSpec,
    gpus=st.integers(0, 16),
    gpu_model=st.text(),
    gpu_memory_mib=st.integers(1, 10**6),
    labels=st.dictionaries(st.text(), st.text()),
)
_specs = st.builds(
    LabSpec,
    nodes=st.dictionaries(st.from_regex(r"[a-z][a-z0-9]{0,10}", fullmatch=True), _nodes, min_size=1, max_size=4),
    images=st.dictionaries(_roles, st.lists(st.text()).map(tuple)),
    ollama_models=st.lists(st.sampled_from(["qwen3:4b", "me/jini", "llama3.1"])).map(tuple),
)


@given(_specs)
def test_json_round_trip(spec: LabSpec) -> None:
    assert LabSpec.model_validate_json(spec.to_json()) == spec


def test_json_is_in_the_stack_files_spelling() -> None:
    text = '{"nodes": {"a": {"gpus": 2, "gpuModel": "M", "gpuMemoryMiB": 9}}, "ollamaModels": ["qwen3:4b"]}'
    spec = LabSpec.model_validate_json(text)
    assert spec.nodes[spec.first] == NodeSpec(gpus=2, gpu_model="M", gpu_memory_mib=9)
    assert '"gpuMemoryMiB": 9' in spec.to_json()


def test_more_nodes_than_there_are_addresses_are_refused() -> None:
    assert LabSpec(nodes={f"gpu-{i}": NodeSpec() for i in range(4)}).workers == {"gpu-1": 1, "gpu-2": 2, "gpu-3": 3}
    with pytest.raises(ValidationError, match=r"nodes has 5: the lab's subnet has addresses for 4"):
        LabSpec(nodes={f"gpu-{i}": NodeSpec() for i in range(5)})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"nodes": {}}', "nodes is empty"),
        ('{"nodes": {"A_b": {}}}', "node name 'A_b'"),
        ('{"nodes": {"a": {"gpus": 17}}}', "nodes.a.gpus: Input should be less than or equal to 16"),
        ('{"images": {"sglang": []}}', "images.sglang"),
        ('{"ollamaModels": ["a b"]}', "model 'a b'"),
        ('{"gpus": 1}', "gpus: Extra inputs are not permitted"),
        ("{", "spec.json: Invalid JSON"),
    ],
)
def test_wrong_file_says_where(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "spec.json"
    path.write_text(text)
    with pytest.raises(StepFailed) as raised:
        LabSpec.from_file(path)
    assert problem in str(raised.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match=r"none\.json cannot be read"):
        LabSpec.from_file(tmp_path / "none.json")
