"""The gateway's configuration of nginx: what it lets through, what it answers itself, and how it streams."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from planning import llamacpp, ollama, tgi, vllm
from planning.routes import Engine, Location, Route

PORT = 8080
"""Where the ingress controller sends requests."""

HEALTH_PORT = 8081
"""Where the kubelet asks; nothing else is served there, so no key is asked for."""

KEYS_DIRECTORY = "/etc/llm-gateway/keys"
KEYS_FILE = "clients.map"
PID_FILE = "/tmp/nginx.pid"

_ENGINE_PORT: dict[Engine, int] = {
    "vllm": vllm.PORT,
    "ollama": ollama.PORT,
    "llamacpp": llamacpp.PORT,
    "tgi": tgi.PORT,
}
_ENGINE_HEALTH: dict[Engine, str] = {
    "vllm": "/health",
    "ollama": "/api/version",
    "llamacpp": "/health",
    "tgi": "/health",
}

_ERRORS: dict[int, tuple[str, str, str]] = {
    401: (
        "invalid_request_error",
        "invalid_api_key",
        "The API key is missing or wrong. Send it in a header: Authorization: Bearer KEY.",
    ),
    404: ("invalid_request_error", "unknown_url", "Nothing is served under this path."),
    405: ("invalid_request_error", "method_not_allowed", "This path is not served by this method."),
    408: ("invalid_request_error", "request_timeout", "The request did not arrive in time."),
    411: ("invalid_request_error", "length_required", "The request does not say how long it is."),
    413: ("invalid_request_error", "request_too_large", "The request is larger than this service takes."),
    502: ("server_error", "model_unavailable", "The model does not answer just now. Try again."),
    503: ("server_error", "model_unavailable", "The model does not answer just now. Try again."),
    504: ("server_error", "timeout", "The model was silent for longer than this route allows."),
}
"""Type, code and message by the status of an answer that is the gateway's own.

400 and 414 are missing: where there is no valid path, nginx cannot redirect to a named location, and answers itself.
"""

_OTHER_ERROR = ("server_error", "internal_error", "The gateway could not handle this request.")

_FRAME = """\
# Made from the stack file: a change here is undone by the next deployment.
daemon off;
pid @PID_FILE@;
error_log stderr warn;
# Not one for each core of the node: what comes in waits for GPUs anyway.
worker_processes 2;
# Streams that are under way may end; after so long a pod that was told to go goes.
worker_shutdown_timeout @DRAIN_SECONDS@s;
events { worker_connections 4096; }

http {
  # The file system is read-only but for /tmp.
  client_body_temp_path /tmp/client;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi;
  scgi_temp_path /tmp/scgi;

  # $uri, not $request_uri: what follows the question mark may be anything, and stays out of the log.
  log_format json escape=json
    '{"time":"$time_iso8601","requestId":"$llm_request_id","client":"$llm_client","method":"$request_method",'
    '"path":"$uri","status":$status,"model":"$proxy_host","bytesIn":$request_length,"bytesOut":$bytes_sent,'
    '"seconds":$request_time,"upstreamSeconds":"$upstream_response_time","upstreamStatus":"$upstream_status"}';
  access_log /dev/stdout json;

  # One that a client made up is kept if it can harm neither a log nor a header.
  map $http_x_request_id $llm_request_id {
    "~^[A-Za-z0-9._:-]{1,128}$" $http_x_request_id;
    default $request_id;
  }
@CLIENTS@
  map $status $llm_error {
@ERRORS@
  }
  map $status $llm_challenge { 401 'Bearer realm="llm"'; default ""; }
  map "$status:$llm_allow" $llm_allow_header { "~^405:(?<allowed>.+)$" $allowed; default ""; }
  # An engine that is too busy may say itself when to come back.
  map "$status:$upstream_http_retry_after" $llm_retry_after { "~^50[23]:$" 5; default ""; }

  server_tokens off;
  keepalive_timeout 120s;  # longer than Traefik's 90 s, so that it never sends to a connection just closed
  client_max_body_size @MAX_BODY_BYTES@;
  client_body_buffer_size 256k;
  merge_slashes off;

  proxy_http_version 1.1;
  proxy_buffering off;  # a token is passed on when it comes
  proxy_connect_timeout 5s;
  proxy_set_header Connection "";
  proxy_set_header Accept-Encoding "";
  proxy_set_header Authorization "";  # a key is for the gateway alone
  proxy_set_header X-Request-ID $llm_request_id;
  proxy_hide_header X-Request-ID;

@UPSTREAMS@

  server {
    listen @HEALTH_PORT@;
    access_log off;
    location = /healthz { default_type text/plain; return 200 ok; }
    location / { return 404; }
  }

  server {
    listen @PORT@ default_server;
    default_type application/json;
    set $llm_allow "";
    add_header X-Request-ID $llm_request_id always;
    add_header WWW-Authenticate $llm_challenge always;
    add_header Allow $llm_allow_header always;
    add_header Retry-After $llm_retry_after always;
    error_page @STATUSES@ @error;
    location @error { return 500 $llm_error; }  # the status stays that of the error
@CHECK@
    location / { return 404; }
@LOCATIONS@
  }
}
"""

_CLIENTS = f"""
  map $http_authorization $llm_client {{
    default "";
    include {KEYS_DIRECTORY}/{KEYS_FILE};
  }}"""

_NO_CLIENTS = """
  map "" $llm_client { default "-"; }"""

_CHECK = """\
    if ($llm_client = "") { return 401; }
"""


def nginx_conf(routes: Iterable[Route], *, namespace: str, keys: bool, max_body_bytes: int, drain_seconds: int) -> str:
    """The text of nginx.conf.

    Args:
        routes: what is open; no two open the same path.
        namespace: where the Services of the models are.
        keys: whether a client must send one that is in KEYS_FILE.
        max_body_bytes: largest request.
        drain_seconds: how long requests under way may go on when the pod ends.
    """
    routes = tuple(routes)
    parts: Mapping[str, str] = {
        "PID_FILE": PID_FILE,
        "DRAIN_SECONDS": str(drain_seconds),
        "CLIENTS": _CLIENTS if keys else _NO_CLIENTS,
        "ERRORS": "\n".join(
            [f"    {status} '{_error(*told)}';" for status, told in _ERRORS.items()]
            + [f"    default '{_error(*_OTHER_ERROR)}';"]
        ),
        "MAX_BODY_BYTES": str(max_body_bytes),
        "UPSTREAMS": "\n".join(
            _upstream(server, _address(server, engine, namespace))
            for server, engine in {route.server: route.engine for route in routes}.items()
        ),
        "HEALTH_PORT": str(HEALTH_PORT),
        "PORT": str(PORT),
        "STATUSES": " ".join(str(status) for status in (*_ERRORS, 500, 501, 505)),
        "CHECK": _CHECK if keys else "",
        "LOCATIONS": "\n".join(_location(route, at) for route in routes for at in route.locations),
    }
    text = _FRAME
    for name, part in parts.items():
        text = text.replace(f"@{name}@", part)
    return text


def health_urls(routes: Iterable[Route], *, namespace: str) -> list[str]:
    """Where each engine that the routes lead to says that it is there, without a key."""
    engines = {route.server: route.engine for route in routes}
    return [
        f"http://{_address(server, engine, namespace)}{_ENGINE_HEALTH[engine]}" for server, engine in engines.items()
    ]


def clients_map(keys: Mapping[str, str]) -> str:
    """The text of KEYS_FILE: the client's name by the header that it sends.

    Args:
        keys: key by client; both of letters, digits, '-' and '_' alone, so that neither can end its text.
    """
    # Regular expressions, since a map compares plain texts without regard to case.
    return "".join(f'"~^(?i:bearer) +{key}$" "{client}";\n' for client, key in sorted(keys.items()))


def _error(kind: str, code: str, message: str) -> str:
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return json.dumps(body)


def _address(server: str, engine: Engine, namespace: str) -> str:
    return f"{server}.{namespace}.svc:{_ENGINE_PORT[engine]}"


def _upstream(name: str, address: str) -> str:
    # 4 s: the engines' HTTP server (uvicorn) closes after 5 s, and what was sent just then would be lost.
    # keepalive_time: a Service balances connections, not requests. One that is never idle would stay with its pod, and
    # one that the autoscaler has added would get nothing.
    keep = "keepalive 32; keepalive_timeout 4s; keepalive_time 5s;"
    return f"  upstream {name} {{ server {address}; {keep} }}"


def _location(route: Route, at: Location) -> str:
    # HEAD is GET without the body.
    methods = "GET, HEAD" if at.method == "GET" else at.method
    return f"""\
    location = {at.path} {{
      set $llm_allow "{methods}";
      if ($request_method !~ "^({methods.replace(", ", "|")})$") {{ return 405; }}
      proxy_read_timeout {route.timeout_seconds}s;
      proxy_pass http://{route.server}{at.engine_path};
    }}"""
