"""Which path of the edge leads to which server, and what of an engine's API is public there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from settings.ingress import IngressSettings
from settings.problems import did_you_mean
from settings.stack import ModelSettings

Engine = Literal["vllm", "ollama", "llamacpp", "tgi"]
Method = Literal["GET", "POST"]

OPENAI_PREFIX = "/v1"
NATIVE_PREFIX = "/api"

PUBLIC_API: dict[Engine, dict[str, Method]] = {
    # Every route in vllm/entrypoints of 0.33.0 that is inference or a list of models, under /v1. Left out on purpose:
    # (un)load_lora_adapter, responses by id (one client's answers, to be read by another), .../render and /derender,
    # the Anthropic API and WebSockets.
    "vllm": {
        "/v1/models": "GET",
        "/v1/chat/completions": "POST",
        "/v1/completions": "POST",
        "/v1/responses": "POST",
        "/v1/embeddings": "POST",
        "/v1/rerank": "POST",
        "/v1/score": "POST",
        "/v1/audio/transcriptions": "POST",
        "/v1/audio/translations": "POST",
    },
    # server/routes.go of Ollama, without all that changes what is on disk: pull, push, create, copy, delete, blobs.
    "ollama": {
        "/v1/models": "GET",
        "/v1/chat/completions": "POST",
        "/v1/completions": "POST",
        "/v1/responses": "POST",
        "/v1/embeddings": "POST",
        "/api/chat": "POST",
        "/api/generate": "POST",
        "/api/embed": "POST",
        "/api/embeddings": "POST",
        "/api/show": "POST",
        "/api/tags": "GET",
        "/api/ps": "GET",
        "/api/version": "GET",
    },
    # tools/server/server.cpp, without what shows or changes the server itself: slots, props, LoRA scales, tools.
    "llamacpp": {
        "/v1/models": "GET",
        "/v1/chat/completions": "POST",
        "/v1/completions": "POST",
        "/v1/responses": "POST",
        "/v1/embeddings": "POST",
        "/v1/rerank": "POST",
    },
    # router/src/server.rs of TGI, under /v1.
    "tgi": {
        "/v1/models": "GET",
        "/v1/chat/completions": "POST",
        "/v1/completions": "POST",
    },
}
"""Paths of each engine that may be reached from outside, with their method. All others stay closed."""

_NAMES: dict[Engine, str] = {"vllm": "vLLM", "ollama": "Ollama", "llamacpp": "llama.cpp", "tgi": "TGI"}


@dataclass(frozen=True, kw_only=True)
class Location:
    """One path that is open, and what the engine sees in its place."""

    path: str
    method: Method
    engine_path: str


@dataclass(frozen=True, kw_only=True)
class Route:
    """Requests under `path` go to `server`, which sees `engine_prefix` in the place of `path`."""

    path: str
    server: str
    engine: Engine
    engine_prefix: str
    timeout_seconds: int

    @property
    def locations(self) -> tuple[Location, ...]:
        """Every path that the route opens."""
        return tuple(
            Location(path=self.path + path.removeprefix(self.engine_prefix), method=method, engine_path=path)
            for path, method in PUBLIC_API[self.engine].items()
            if path.startswith(f"{self.engine_prefix}/")
        )

    @property
    def openai_path(self) -> str | None:
        """Base path of the OpenAI API under this route, e.g. `/ollama/v1`; None where there is none."""
        return next((at.path.removesuffix("/models") for at in self.locations if at.engine_path == "/v1/models"), None)


def plan_routes(
    ingress: IngressSettings, servers: Mapping[str, ModelSettings], problems: list[str]
) -> tuple[Route, ...]:
    """Routes in the order of their paths; what is wrong with them is added to `problems`."""
    owner: dict[str, str] = {}
    routes: list[Route] = []
    for written, route in ingress.routes.items():
        path, server = written.rstrip("/"), route.model
        if path in owner:
            problems.append(f"ingress.routes.{written}: '{ingress.host}{path}' is {_used_by(owner[path], server)}.")
            continue
        owner[path] = server
        if server not in servers:
            near = did_you_mean(server, servers) or "."
            problems.append(
                f"ingress.routes.{written}: there is no model {server!r}{near} There are {', '.join(servers)}."
            )
            continue
        if (base := _base_of_api_path(path)) is not None:
            free = base not in {other.rstrip("/") for other in ingress.routes}
            problems.append(
                f"ingress.routes.{written}: is a path of the API itself, and a route is its base, behind which clients "
                f"write such a path again. Write {base if free else f'{base}/{server}-model'!r}."
            )
            continue
        engine: Engine = servers[server].engine
        prefix = _engine_prefix(path)
        if engine != "ollama" and prefix != OPENAI_PREFIX:
            problems.append(
                f"ingress.routes.{written}: {_NAMES[engine]}'s public API is under /v1 alone, and other paths of it "
                "ask for no key. Write '/v1' or '/v1/<name>'."
            )
            continue
        routes.append(
            Route(path=path, server=server, engine=engine, engine_prefix=prefix, timeout_seconds=route.timeout_seconds)
        )
    problems += _overlaps(routes)
    return tuple(sorted(routes, key=lambda route: route.path))


def _used_by(first: str, second: str) -> str:
    if first == second:
        return f"written twice for the model {first!r}, since a '/' at its end makes no difference. Take one out"
    return f"used by models {first!r} and {second!r}, so one would never be reached. Give each a path of its own"


def _base_of_api_path(path: str) -> str | None:
    """The route that was meant by a path that ends as one of an engine's API; None where `path` is a base."""
    for prefix in (OPENAI_PREFIX, NATIVE_PREFIX):
        api = {at.removeprefix(prefix) for paths in PUBLIC_API.values() for at in paths if at.startswith(f"{prefix}/")}
        ends = [end for end in api if path.startswith(f"{prefix}/") and path.endswith(end)]
        if ends:
            return path.removesuffix(max(ends, key=len))
    return None


def _engine_prefix(path: str) -> str:
    """What the engine sees in the place of `path`: one of its APIs where the path names it, else all of them."""
    named = (prefix for prefix in (OPENAI_PREFIX, NATIVE_PREFIX) if f"{path}/".startswith(f"{prefix}/"))
    return next(named, "")


def _overlaps(routes: list[Route]) -> list[str]:
    """Routes such as /v1 and /v1/chat: /v1/chat/completions would be one thing of the first, another of the second."""
    opened: dict[str, Route] = {}
    found: dict[str, str] = {}
    for route in sorted(routes, key=lambda route: route.path):
        for at in route.locations:
            other = opened.setdefault(at.path, route)
            if other is not route:
                found[route.path] = (
                    f"ingress.routes.{route.path}: '{at.path}' is also a path of the route '{other.path}', and means "
                    f"something else there. Choose a path that no API has, such as '{other.path}/{route.server}-model'."
                )
    return list(found.values())
