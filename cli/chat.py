"""`llmctl chat`: talks with a model through the edge, as any client does."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence

from cli.deployment import Deployment
from cli.edge import Access, Endpoint, endpoints, show_answer, stream_chat
from planning.plan import Plan
from settings.problems import did_you_mean
from toolchain.steps import StepFailed

Message = dict[str, str]
Ask = Callable[[Sequence[Message]], Iterator[str]]
"""Gives a conversation to the model and yields the pieces of its answer."""


def find_model(plan: Plan, wanted: str) -> tuple[Endpoint, str]:
    """The route to `wanted`, and the model's name there: a model, or a server for the first of its models.

    Raises:
        StepFailed: no route leads to such a model.
    """
    routes = [route for route in endpoints(plan) if not route.embeds]
    for route in routes:
        if wanted in route.models:
            return route, wanted
    for route in routes:
        if wanted == route.server:
            return route, route.models[0]
    if not routes:
        raise StepFailed(
            "ingress.routes leads to no model with an OpenAI API, so nothing answers from outside of the cluster. Add "
            "a route, e.g. ingress: {host: localhost, routes: {/v1: <model>}}."
        )
    names = list(dict.fromkeys(name for route in routes for name in (*route.models, route.server)))
    raise StepFailed(
        f"there are the models {', '.join(names)}; no route leads to {wanted!r}{did_you_mean(wanted, names)}"
    )


def chat(
    deployment: Deployment,
    wanted: str,
    *,
    prompt: str | None = None,
    system: str | None = None,
    address: str | None = None,
) -> None:
    """Answer `prompt`, or what standard input holds; on a terminal, talk until Ctrl-D.

    Args:
        deployment: whose models.
        wanted: a model's or a server's name.
        prompt: the user's message; None to read it.
        system: what the model is told before the conversation.
        address: where the edge is reached, if not under its host's name.

    Raises:
        SettingsError, PlanError: the stack file cannot be followed.
        StepFailed: no such model, nothing to ask, or no answer.
    """
    endpoint, model = find_model(deployment.plan(), wanted)
    told: list[Message] = [{"role": "system", "content": system}] if system else []
    interactive = prompt is None and sys.stdin.isatty()
    if prompt is None and not interactive:
        prompt = sys.stdin.read()
    if prompt is not None and not prompt.strip():
        raise StepFailed("there is nothing to ask: the prompt is empty. Write --prompt TEXT, or pipe a text in.")
    access = _access(deployment, address)

    def ask(conversation: Sequence[Message]) -> Iterator[str]:
        return stream_chat(endpoint, conversation, model=model, access=access, max_tokens=None)

    if prompt is None:
        import readline  # noqa: F401  # gives input() its line editing and history

        print(f"{model} at {endpoint.url}. Ctrl-C stops an answer, Ctrl-D ends.", file=sys.stderr)
        converse(ask, told)
    elif not _answer(ask([*told, {"role": "user", "content": prompt}])).strip():
        raise StepFailed(f"{model} answered without a word; see its pod's log.")


def smoke(deployment: Deployment, *, address: str | None = None) -> None:
    """Ask each server one question through the edge, at `address` if given, and show its answer.

    Raises:
        SettingsError, PlanError: the stack file cannot be followed.
        StepFailed: with every server that did not answer.
    """
    routes = {endpoint.server: endpoint for endpoint in endpoints(deployment.plan())}
    if not routes:
        raise StepFailed("ingress.routes leads to no model with an OpenAI API, so there is nothing to ask.")
    access = _access(deployment, address)
    failed = []
    for server, endpoint in routes.items():
        print(f"{server} ({endpoint.models[0]} at {endpoint.url}): ", end="", flush=True)
        try:
            if not show_answer(endpoint, "Say hello.", access).strip():
                failed.append(f"{server} answered without a word; see its pod's log.")
        except StepFailed as error:
            print("no answer")
            failed.append(str(error))
    if failed:
        raise StepFailed("\n".join(failed))


def converse(ask: Ask, told: Sequence[Message] = (), *, read: Callable[[str], str] = input) -> None:
    """Ask what the person writes, with all that was said before, until the end of input.

    Args:
        ask: answers.
        told: what the conversation begins with.
        read: gives the next line for a prompt, and raises EOFError at the end.
    """
    conversation = list(told)
    while True:
        try:
            line = read("> ")
        except EOFError:
            print()
            return
        except KeyboardInterrupt:  # throws away what was being written, as in a shell
            print()
            continue
        if not line.strip():
            continue
        asked = [*conversation, {"role": "user", "content": line}]
        try:
            answer = _answer(ask(asked), stoppable=True)
        except StepFailed as error:  # the next question may fare better, and the conversation is not lost
            print(f"\n{error}", file=sys.stderr)
            continue
        conversation = [*asked, {"role": "assistant", "content": answer}]


def _access(deployment: Deployment, address: str | None) -> Access:
    access = deployment.access()
    return dataclasses.replace(access, address=address) if address else access


def _answer(pieces: Iterator[str], *, stoppable: bool = False) -> str:
    """Print the answer as it comes, and return it; where it is `stoppable`, Ctrl-C ends it with what there is."""
    answer = ""
    try:
        for piece in pieces:
            print(piece, end="", flush=True)
            answer += piece
    except KeyboardInterrupt:
        if not stoppable:
            raise
        print(" ...", end="")
    print()
    return answer
