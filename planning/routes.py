"""Which path of the edge leads to which server."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from settings.ingress import IngressSettings
from settings.stack import ModelSettings
from settings.vllm import VllmSettings

OPENAI_PREFIX = "/v1"


@dataclass(frozen=True, kw_only=True)
class Route:
    """Requests under `path` go to `server`, which sees `engine_prefix` in the place of `path`."""

    path: str
    server: str
    engine: Literal["vllm", "ollama"]
    engine_prefix: str

    @property
    def key(self) -> str:
        """What the route's objects are named after: no two paths have the same; at most 49 characters."""
        key = re.sub(r"[^a-z0-9]+", "-", self.path.lower()).strip("-")[:40].strip("-")
        if f"/{key.replace('-', '/')}" == self.path:
            return key
        return f"{key}-{hashlib.sha256(self.path.encode()).hexdigest()[:8]}".lstrip("-")


def plan_routes(
    ingress: IngressSettings, servers: Mapping[str, ModelSettings], problems: list[str]
) -> tuple[Route, ...]:
    """Routes in the order of their paths; what is wrong with them is added to `problems`."""
    owner: dict[str, str] = {}
    routes: list[Route] = []
    for written, server in ingress.routes.items():
        path = written.rstrip("/")
        if path in owner:
            problems.append(
                f"ingress.routes: '{ingress.host}{path}' is used by models {owner[path]!r} and {server!r}, so one "
                "would never be reached. Give each a path of its own."
            )
            continue
        owner[path] = server
        if server not in servers:
            problems.append(
                f"ingress.routes.{written}: there is no model {server!r}; write one of {', '.join(servers)}."
            )
            continue
        settings = servers[server]
        if isinstance(settings, VllmSettings):
            if not (path == OPENAI_PREFIX or path.startswith(f"{OPENAI_PREFIX}/")):
                problems.append(
                    f"ingress.routes.{written}: vLLM's public API is under /v1 alone, and other paths of it ask for no "
                    "key. Write '/v1' or '/v1/<name>'."
                )
                continue
            routes.append(Route(path=path, server=server, engine="vllm", engine_prefix=OPENAI_PREFIX))
        else:
            routes.append(Route(path=path, server=server, engine="ollama", engine_prefix=""))
    return tuple(sorted(routes, key=lambda route: route.path))
