"""What may go wrong although the plan can be followed: told in the preview, and no reason to stop."""

from __future__ import annotations

from planning.catalogue import hub_models
from planning.image_tags import moving_images
from settings.ingress import LOCALHOST
from settings.problems import did_you_mean
from settings.secret import GENERATED
from settings.stack import Settings
from settings.tgi import TgiSettings
from settings.vllm import VllmSettings


def warnings(settings: Settings) -> tuple[str, ...]:
    """One line for each doubt: path in the stack file, consequence, repair."""
    return (*_open_edge(settings), *_unreached(settings), *moving_images(settings), *_models(settings))


def _open_edge(settings: Settings) -> tuple[str, ...]:
    ingress = settings.ingress
    # The ports of WSL2 are Windows' own localhost alone, by default.
    reachable = any(node.platform == "native" for node in settings.nodes.values())
    if ingress is None or ingress.host != LOCALHOST or ingress.api_keys or not reachable:
        return ()
    return (
        f"ingress.apiKeys: is not set. {LOCALHOST} is a name and no fence: whoever reaches port 80 of the node can "
        f"send it and use the models. Close the port, or write apiKeys: {{me: {GENERATED}}}.",
    )


def _unreached(settings: Settings) -> tuple[str, ...]:
    """Servers that no route leads to; where there is no edge at all, that is said once."""
    ingress = settings.ingress
    if settings.security.client_namespaces:
        return ()
    if ingress is None:
        first = min(settings.models)  # whatever their order in the file
        return (
            "ingress: is not set, so nobody reaches a model: their network policies let in the edge and monitoring "
            f"alone. Write ingress: {{host: {LOCALHOST}, apiKeys: {{me: {GENERATED}}}, routes: {{/v1: {first}}}}}, "
            "or name who may come without an edge in security.clientNamespaces.",
        )
    reached = {route.model for route in ingress.routes.values()}
    return tuple(
        f"models.{name}: no route leads to it, and its network policy lets in nobody but the edge, so it would hold "
        f"its GPUs for nothing. Write e.g. ingress.routes: {{/v1/{name}: {name}}}, or name who may come past the "
        "edge in security.clientNamespaces."
        for name in settings.models
        if name not in reached
    )


def _models(settings: Settings) -> tuple[str, ...]:
    known = hub_models()
    servers = {
        name: server for name, server in settings.models.items() if isinstance(server, VllmSettings | TgiSettings)
    }
    served = {name: server.model for name, server in servers.items()}
    unknown = tuple(
        f"models.{name}.model: {model} is not in the catalogue, so whether it fits is not known, and its volume is "
        f"made for 20 GB{did_you_mean(model, known) or '.'} `llmctl catalogue add --form architecture "
        f"{model}` prints what to write."
        for name, model in served.items()
        if model not in known and servers[name].architecture is None
    )
    if settings.hugging_face_token is not None:
        return unknown
    return unknown + tuple(
        f"models.{name}.model: {model} is gated: Hugging Face gives it to no account but those "
        "that its owner has let in. Set the token of one: pulumi config set --secret huggingFaceToken."
        for name, model in served.items()
        if model in known and known[model].gated
    )
