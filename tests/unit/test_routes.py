"""Routes: what of which engine is reached under which path, and which paths can not both be written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from on_mocks import Raw
from small_stacks import node, ollama, planned, problems, vllm

from planning.problems import PlanError
from planning.routes import Route

MODELS = {"chat": vllm(), "help": ollama()}


def routes(written: Raw) -> tuple[Route, ...]:
    found = planned({"a": node(slices=2)}, MODELS, ingress={"host": "localhost", "routes": written})
    assert found.ingress is not None
    return found.ingress.routes


def route_problems(written: Raw) -> list[str]:
    return problems({"a": node(slices=2)}, MODELS, ingress={"host": "localhost", "routes": written})


def opened(written: Raw) -> dict[str, tuple[str, str, str]]:
    """Server, method and the engine's own path, by the path that clients ask for."""
    return {at.path: (r.server, at.method, at.engine_path) for r in routes(written) for at in r.locations}


def test_a_route_is_as_the_file_says() -> None:
    assert routes({"/v1/fast/": {"model": "chat", "timeoutSeconds": 30}, "/ollama": "help", "/v1": "chat"}) == (
        Route(path="/ollama", server="help", engine="ollama", engine_prefix="", timeout_seconds=120),
        Route(path="/v1", server="chat", engine="vllm", engine_prefix="/v1", timeout_seconds=120),
        Route(path="/v1/fast", server="chat", engine="vllm", engine_prefix="/v1", timeout_seconds=30),
    )


def test_vllm_opens_its_openai_api_by_name_and_nothing_else() -> None:
    assert opened({"/v1/fast": "chat"}) == {
        f"/v1/fast/{path}": ("chat", "GET" if path == "models" else "POST", f"/v1/{path}")
        for path in (
            "models",
            "chat/completions",
            "completions",
            "responses",
            "embeddings",
            "rerank",
            "score",
            "audio/transcriptions",
            "audio/translations",
        )
    }


OPENAI = ("models", "chat/completions", "completions", "responses", "embeddings")
NATIVE = ("chat", "generate", "embed", "embeddings", "show", "tags", "ps", "version")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1", {f"/v1/{p}": f"/v1/{p}" for p in OPENAI}),
        ("/v1/korean", {f"/v1/korean/{p}": f"/v1/{p}" for p in OPENAI}),
        ("/api", {f"/api/{p}": f"/api/{p}" for p in NATIVE}),
        ("/api/korean", {f"/api/korean/{p}": f"/api/{p}" for p in NATIVE}),
        (
            "/ollama",
            {f"/ollama/v1/{p}": f"/v1/{p}" for p in OPENAI} | {f"/ollama/api/{p}": f"/api/{p}" for p in NATIVE},
        ),
        ("/v1x", {f"/v1x/v1/{p}": f"/v1/{p}" for p in OPENAI} | {f"/v1x/api/{p}": f"/api/{p}" for p in NATIVE}),
    ],
)
def test_ollama_opens_the_api_that_the_path_names_or_both(path: str, expected: dict[str, str]) -> None:
    assert {at: engine for at, (_, _, engine) in opened({path: "help"}).items()} == expected


def test_ollamas_models_can_be_read_but_not_changed() -> None:
    found = opened({"/ollama": "help"})
    assert {engine for _, method, engine in found.values() if method == "GET"} == {
        "/v1/models",
        "/api/tags",
        "/api/ps",
        "/api/version",
    }
    for word in ("pull", "push", "create", "copy", "delete", "blobs"):
        assert not any(word in path for path in found)


def test_one_ollama_may_have_both_of_its_apis_where_clients_look_for_them() -> None:
    found = opened({"/v1": "help", "/api": "help"})
    assert {found["/v1/chat/completions"][2], found["/api/chat"][2]} == {"/v1/chat/completions", "/api/chat"}


def test_paths_that_are_the_same_when_normalised_collide() -> None:
    assert route_problems({"/v1": "chat", "/v1/": "help"}) == [
        "ingress.routes./v1/: 'localhost/v1' is used by models 'chat' and 'help', so one would never be reached. "
        "Give each a path of its own."
    ]


def test_a_route_that_is_a_path_of_another_collides() -> None:
    assert route_problems({"/v1": "chat", "/v1/chat": "help"}) == [
        "ingress.routes./v1/chat: '/v1/chat/completions' is also a path of the route '/v1', and means something else "
        "there. Choose a path that no API has, such as '/v1/help-model'."
    ]


def test_a_route_to_no_model_is_told_with_those_there_are() -> None:
    assert route_problems({"/v1": "caht"}) == [
        "ingress.routes./v1: there is no model 'caht'; did you mean 'chat'? There are chat, help."
    ]


@pytest.mark.parametrize("path", ["/chat", "/v1x", "/V1", "/api"])
def test_vllm_is_routed_under_v1_alone(path: str) -> None:
    assert route_problems({path: "chat"}) == [
        f"ingress.routes.{path}: vLLM's public API is under /v1 alone, and other paths of it ask for no key. Write "
        "'/v1' or '/v1/<name>'."
    ]


_segment = st.sampled_from(["v1", "api", "chat", "completions", "models", "a"])
_paths = st.lists(_segment, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))


@given(st.dictionaries(_paths, st.just("help"), min_size=1, max_size=5))
def test_no_path_ever_leads_to_two_places(written: Raw) -> None:
    """nginx would not start with two locations of one path: either the plan tells of it, or there are none."""
    try:
        found = routes(written)
    except PlanError:
        return
    paths = [at.path for route in found for at in route.locations]
    assert len(paths) == len(set(paths))


@pytest.mark.parametrize(
    ("written", "path", "write"),
    [
        ({"/v1/chat/completions": "chat"}, "/v1/chat/completions", "/v1"),
        ({"/v1/fast/embeddings": "chat"}, "/v1/fast/embeddings", "/v1/fast"),
        ({"/v1": "chat", "/v1/embeddings": "help"}, "/v1/embeddings", "/v1/help-model"),
        ({"/api/chat": "help"}, "/api/chat", "/api"),
    ],
)
def test_a_path_of_the_api_is_no_route(written: Raw, path: str, write: str) -> None:
    assert route_problems(written) == [
        f"ingress.routes.{path}: is a path of the API itself, and a route is its base, behind which clients write such "
        f"a path again. Write {write!r}."
    ]
