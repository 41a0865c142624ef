"""Talks to the models as a client would: over HTTP, through the edge."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from planning.ollama import OllamaPlan
from planning.plan import Plan
from toolchain.steps import StepFailed

_PATIENCE_SECONDS = 60.0
"""How long a new route may take to be known to the ingress controller."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One route as its clients see it."""

    server: str
    engine: str
    url: str
    """Base URL of the OpenAI API, e.g. `http://localhost/v1`."""

    models: tuple[str, ...]

    def chat_request(self, prompt: str, model: str | None = None) -> dict[str, object]:
        """A streamed chat request; the first model of the route where none is named."""
        return {
            "model": model or self.models[0],
            "stream": True,
            "max_tokens": 32,
            "messages": [{"role": "user", "content": prompt}],
        }

    def curl(self, prompt: str) -> str:
        """The same request as a line to paste into a shell."""
        body = json.dumps(self.chat_request(prompt))
        return (
            f"curl -N {shlex.quote(self.url + '/chat/completions')} -H 'Content-Type: application/json' "
            f"-d {shlex.quote(body)}"
        )


def endpoints(plan: Plan) -> list[Endpoint]:
    """Every route of the plan, as its clients see it."""
    if plan.ingress is None:
        return []
    found = []
    for route in plan.ingress.routes:
        server = plan.servers[route.server]
        found.append(
            Endpoint(
                server=route.server,
                engine=route.engine,
                url=f"http://{plan.ingress.host}{route.path}" + ("/v1" if route.engine == "ollama" else ""),
                models=server.served_names if isinstance(server, OllamaPlan) else (server.served_name,),
            )
        )
    return found


def stream_chat(
    endpoint: Endpoint, prompt: str, *, model: str | None = None, address: str | None = None
) -> Iterator[str]:
    """Yield the pieces of an answer as they come.

    Args:
        endpoint: whom to ask.
        prompt: the user's message.
        model: one of the endpoint's models; the first by default.
        address: where the edge is reached, if not under the host's own name, e.g. `198.18.0.2`.

    Raises:
        StepFailed: no answer, an error instead of one, or an answer that breaks off.
    """
    url = httpx.URL(endpoint.url + "/chat/completions")
    headers = {"Host": url.host}
    if address:
        url = url.copy_with(host=address)
    request = endpoint.chat_request(prompt, model)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            with httpx.stream("POST", url, json=request, headers=headers, timeout=120) as response:
                if response.status_code == httpx.codes.OK:
                    try:
                        yield from _pieces(response)
                    except httpx.TransportError as error:  # asked again, the pieces would come twice
                        raise StepFailed(f"{endpoint.url} broke off: {str(error) or type(error).__name__}") from None
                    return
                problem = f"{response.status_code} {response.read().decode(errors='replace').strip()[:300]}"
                # Until the controller knows the route and its endpoints it answers 404, 502 or 503 by itself.
                may_pass = response.status_code in (404, 502, 503)
        except httpx.TransportError as error:
            problem, may_pass = str(error) or type(error).__name__, True
        if not may_pass or time.monotonic() > deadline:
            raise StepFailed(f"{endpoint.url} did not answer: {problem}")
        time.sleep(0.5)  # before the route is asked again


def _pieces(response: httpx.Response) -> Iterator[str]:
    for line in response.iter_lines():
        data = line.removeprefix("data: ")
        if data == line or data == "[DONE]":
            continue
        event = json.loads(data)
        if "error" in event:
            raise StepFailed(f"{response.url} broke off: {event['error']}")
        for choice in event.get("choices") or ():
            if text := (choice.get("delta") or {}).get("content"):
                yield text
