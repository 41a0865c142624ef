"""Talks to the models as a client would: over HTTP, through the edge."""

from __future__ import annotations

import json
import shlex
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import httpx
from pydantic import SecretStr

from planning.llamacpp import LlamaCppPlan
from planning.plan import Plan
from settings.ingress import LOCALHOST
from toolchain.steps import StepFailed

_PATIENCE_SECONDS = 60.0
"""How long a new route may take to be known to the ingress controller."""

Prompt = str | Sequence[Mapping[str, str]]
"""A user's message, or a conversation as the OpenAI API has it: `role` and `content` of each message."""

_CERTIFICATE_FILE = "llm.pem"


@dataclass(frozen=True, kw_only=True)
class Access:
    """What a client has to have to come in."""

    address: str | None = None
    """Where the edge is reached, if not under the host's own name, e.g. `198.18.0.2`."""

    api_key: SecretStr | None = None
    certificate: str | None = None
    """The only one that is trusted, as PEM; those that the machine trusts where None."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One route as its clients see it."""

    server: str
    engine: str
    url: str
    """Base URL of the OpenAI API, e.g. `http://localhost/v1`."""

    models: tuple[str, ...]
    embeds: bool = False
    """Whether it makes embeddings, and does not chat."""

    @property
    def path(self) -> str:
        """What is asked, below the base URL."""
        return "/embeddings" if self.embeds else "/chat/completions"

    def request(self, text: str) -> dict[str, object]:
        """A first request: what it says to `text`, or the embedding of it."""
        return {"model": self.models[0], "input": text} if self.embeds else self.chat_request(text)

    def chat_request(
        self, prompt: Prompt, model: str | None = None, *, max_tokens: int | None = 32
    ) -> dict[str, object]:
        """A streamed chat request; the first model of the route where none is named."""
        request: dict[str, object] = {
            "model": model or self.models[0],
            "stream": True,
            "messages": [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt),
        }
        return request if max_tokens is None else {**request, "max_tokens": max_tokens}

    def curl(self, prompt: str, access: Access | None = None) -> str:
        """The same request as a line to paste into a shell, after those of `preparation`."""
        access = access or Access()
        url = httpx.URL(self.url)
        words = ["curl", "-N", shlex.quote(self.url + self.path)]
        if access.address and url.host != LOCALHOST:
            port = url.port or {"http": 80, "https": 443}[url.scheme]
            words += ["--resolve", f"{url.host}:{port}:{access.address}"]
        if access.certificate:
            words += ["--cacert", _CERTIFICATE_FILE]
        if access.api_key:
            words += ["-H", '"Authorization: Bearer $LLM_API_KEY"']
        body = json.dumps(self.request(prompt))
        words += ["-H", "'Content-Type: application/json'", "-d", shlex.quote(body)]
        return " ".join(words)


def preparation(client: str | None, *, self_signed: bool, stack: str) -> list[str]:
    """What to type before the lines of `curl`: it puts the key of `client` and the certificate where they look."""
    output = f"bin/pulumi stack output --stack {shlex.quote(stack)}"
    lines = []
    if client is not None:
        pick = f'import json, sys; print(json.load(sys.stdin)["{client}"])'
        lines.append(f"export LLM_API_KEY=$({output} apiKeys --json --show-secrets | python3 -c {shlex.quote(pick)})")
    if self_signed:
        lines.append(f"{output} certificate > {_CERTIFICATE_FILE}")
    return lines


def endpoints(plan: Plan) -> list[Endpoint]:
    """Every route of the plan that has an OpenAI API, as its clients see it."""
    if plan.ingress is None:
        return []
    found = []
    for route in plan.ingress.routes:
        server = plan.servers[route.server]
        if route.openai_path is None:
            continue
        found.append(
            Endpoint(
                server=route.server,
                engine=route.engine,
                url=plan.ingress.url(route.openai_path),
                models=server.served_names,
                embeds=isinstance(server, LlamaCppPlan) and server.embeds,
            )
        )
    return found


class BrokenOff(StepFailed):
    """An answer that has begun and does not end.

    One may be asked again: Traefik, being Go's ReverseProxy, breaks off an answer that begins before it has looked for
    the end of the request (golang/go#40747), so a model that answers within a millisecond now and then.
    """


def stream_chat(
    endpoint: Endpoint,
    prompt: Prompt,
    *,
    model: str | None = None,
    access: Access | None = None,
    max_tokens: int | None = 32,
) -> Iterator[str]:
    """Yield the pieces of an answer as they come; of an endpoint that embeds, how long the embedding is.

    Args:
        endpoint: whom to ask.
        prompt: the user's message, or a whole conversation; a text where the endpoint embeds.
        model: one of the endpoint's models; the first by default.
        access: what is needed to come in; nothing by default.
        max_tokens: length of the answer; None for as long as the model likes.

    Raises:
        BrokenOff: an answer that breaks off.
        StepFailed: no answer, or an error instead of one.
    """
    access = access or Access()
    url = httpx.URL(endpoint.url + endpoint.path)
    headers, host = {"Host": url.host}, url.host
    if access.api_key:
        headers["Authorization"] = f"Bearer {access.api_key.get_secret_value()}"
    if access.address:
        url = url.copy_with(host=access.address)
    verify = ssl.create_default_context(cadata=access.certificate)
    embeds = endpoint.embeds and isinstance(prompt, str)
    request = endpoint.request(str(prompt)) if embeds else endpoint.chat_request(prompt, model, max_tokens=max_tokens)
    deadline, begun = time.monotonic() + _PATIENCE_SECONDS, False
    with httpx.Client(verify=verify, timeout=120) as client:
        while True:
            try:
                with client.stream(
                    "POST", url, json=request, headers=headers, extensions={"sni_hostname": host}
                ) as response:
                    if response.status_code == httpx.codes.OK:
                        pieces = _embedding(response) if embeds else _pieces(response)
                        for piece in pieces:
                            begun = True
                            yield piece
                        return
                    problem = f"{response.status_code} {response.read().decode(errors='replace').strip()[:300]}"
                    # Until the controller knows the route and its endpoints it answers 404, 502 or 503 by itself.
                    may_pass = response.status_code in (404, 502, 503)
            except httpx.TransportError as error:
                problem, may_pass = str(error) or type(error).__name__, True
                if begun:  # asked again, the pieces would come twice
                    raise BrokenOff(f"{endpoint.url} broke off: {problem}") from None
            if not may_pass or time.monotonic() > deadline:
                raise StepFailed(f"{endpoint.url} did not answer: {problem}")
            time.sleep(0.5)  # before the route is asked again


def show_answer(endpoint: Endpoint, prompt: str, access: Access) -> str:
    """Print a short answer as it comes, and return it; one that breaks off is asked for once more.

    Raises:
        StepFailed: no answer, an error instead of one, or a second one that breaks off.
    """
    try:
        return _printed(stream_chat(endpoint, prompt, access=access))
    except BrokenOff as error:
        print(f" ... {error}. Asked once more: ", end="", flush=True)
        return _printed(stream_chat(endpoint, prompt, access=access))


def _printed(pieces: Iterator[str]) -> str:
    answer = ""
    for piece in pieces:
        print(piece, end="", flush=True)
        answer += piece
    print()
    return answer


def _embedding(response: httpx.Response) -> Iterator[str]:
    found = json.loads(response.read())["data"]
    yield f"an embedding of {len(found[0]['embedding']):,} numbers"


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
