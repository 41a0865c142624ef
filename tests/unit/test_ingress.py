"""The edge: what may not be left open, and the objects that it is made of."""

from __future__ import annotations

import copy

import pytest
from conftest import Deploy
from on_mocks import Deployed, Raw, seconds, settings_of
from small_stacks import VARIANTS, node, ollama, planned, problems, vllm

from planning.ingress import IngressPlan
from planning.plan import plan
from settings.problems import SettingsError

NODES = {"a": node(slices=2)}
MODELS = {"chat": vllm(), "help": ollama()}
OPEN = {"host": "llm.example.com", "routes": {"/v1": "chat"}}
CLOSED: Raw = {**OPEN, "apiKeys": {"team": "generated"}, "tls": "selfSigned"}


def ingress(written: Raw) -> IngressPlan:
    found = planned(NODES, MODELS, ingress=written).ingress
    assert found is not None
    return found


def refused(written: Raw) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        settings_of({"nodes": NODES, "models": MODELS, "ingress": written})
    return list(caught.value.problems)


# --- what the file may say ---


def test_what_others_could_reach_is_closed_until_it_is_opened() -> None:
    assert problems(NODES, MODELS, ingress=OPEN) == [
        "ingress.apiKeys: is not set, and 'llm.example.com' is not localhost, so whoever reaches it could use the "
        "models. Name the clients, e.g. apiKeys: {team: generated}.",
        "ingress.tls: is not set, and 'llm.example.com' is not localhost, so keys and prompts would cross the network "
        "readable. Write tls: {secretName: <Secret with the certificate>}, or tls: selfSigned.",
    ]


@pytest.mark.parametrize("host", ["localhost.example.com", "my.localhost", "localhost.localdomain", "local"])
def test_nothing_but_localhost_is_this_machine_alone(host: str) -> None:
    assert len(problems(NODES, MODELS, ingress=OPEN | {"host": host})) == 2


def test_localhost_may_have_keys_and_tls_as_well() -> None:
    assert ingress(OPEN | {"host": "localhost"}).url("/v1") == "http://localhost/v1"
    assert ingress(CLOSED | {"host": "localhost"}).url("/v1") == "https://localhost/v1"


def test_two_clients_with_one_key_are_told_without_it() -> None:
    keys = {"team": {"secure": "v1:MARKER"}, "partner": {"secure": "v1:MARKER"}, "other": {"secure": "v1:x"}}
    assert problems(NODES, MODELS, ingress=CLOSED | {"apiKeys": keys}) == [
        "ingress.apiKeys.partner: is the same key as that of 'team', so the log could not tell them apart. Set another "
        "one, or write 'generated'."
    ]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (
            {"tls": "selfsigned"},
            "ingress.tls: 'selfsigned' is neither 'selfSigned' nor a mapping; write e.g. {secretName: llm-tls}.",
        ),
        ({"tls": {}}, "ingress.tls.secretName: is required, and there is no default for it."),
        ({"apiKeys": {}}, "ingress.apiKeys: at least one is required."),
        ({"apiKeys": {"Team": "generated"}}, "ingress.apiKeys.Team: 'Team' is not an RFC 1123 label"),
        (
            {"apiKeys": {"team": "generate"}},
            "ingress.apiKeys.team: is in the file as plain text, so whoever reads the file has it.",
        ),
        ({"routes": {"/v1/..": "chat"}}, "ingress.routes./v1/..: '/v1/..' is not a path to route"),
        ({"routes": {"/./v1": "chat"}}, "ingress.routes././v1: '/./v1' is not a path to route"),
        (
            {"routes": {"/v1": {"model": "chat", "timeoutSeconds": 0}}},
            "ingress.routes./v1.timeoutSeconds: must be at least 1, got 0 (Seconds without a byte",
        ),
        (
            {"routes": {"/v1": {"timeoutSeconds": 9}}},
            "ingress.routes./v1.model: is required, and there is no default for it.",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(written: Raw, told: str) -> None:
    [problem] = refused(CLOSED | written)
    assert problem.startswith(told)


def test_defaults_are_one_pod_for_oneself_and_two_for_others() -> None:
    assert [ingress(OPEN | {"host": "localhost"}).replicas, ingress(CLOSED).replicas] == [1, 2]
    assert ingress(CLOSED | {"replicas": 1}).replicas == 1


def test_the_longest_route_decides_how_long_a_pod_may_take_to_go() -> None:
    routes = {"/v1": {"model": "chat", "timeoutSeconds": 300}, "/ollama": "help"}
    ending = ingress(CLOSED | {"routes": routes}).shutdown
    assert ending.drain_seconds == 300
    assert ending.grace_period_seconds > ending.pre_stop_seconds + ending.drain_seconds


# --- what is made of it ---


@pytest.fixture
def made(deployed: Deploy) -> Deployed:
    return deployed(VARIANTS["spare-gpu"])


def test_the_controller_does_nothing_but_lead_to_the_gateway(made: Deployed) -> None:
    """Keys, prefixes and timeouts depend on no controller's own kinds of objects."""
    [found] = made.of("Ingress")
    assert made.of("Middleware") == []
    [rule] = found.inputs["spec"]["rules"]
    assert rule["host"] == "llm.example.com"
    [path] = rule["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/", "Prefix")
    assert path["backend"]["service"] == {"name": "llm-gateway", "port": {"number": 80}}


@pytest.mark.parametrize(
    ("name", "secret", "entrypoint"),
    [("spare-gpu", "llm-gateway-tls", "websecure"), ("pool", "llm-tls", "websecure"), ("similar-paths", None, "web")],
)
def test_with_a_certificate_only_tls_is_open(deployed: Deploy, name: str, secret: str | None, entrypoint: str) -> None:
    found = deployed(VARIANTS[name])
    [way_in] = found.of("Ingress")
    annotations = way_in.inputs["metadata"]["annotations"]
    assert annotations["traefik.ingress.kubernetes.io/router.entrypoints"] == entrypoint
    assert annotations.get("traefik.ingress.kubernetes.io/router.tls") == ("true" if secret else None)
    expected = [{"hosts": ["llm.example.com"], "secretName": secret}] if secret else None
    assert way_in.inputs["spec"].get("tls") == expected
    ours = [s for s in found.of("Secret") if s.inputs.get("type") == "kubernetes.io/tls"]
    assert [s.inputs["metadata"]["name"] for s in ours] == (["llm-gateway-tls"] if name == "spare-gpu" else [])
    assert all(s.urn in way_in.depends_on for s in ours)


def test_only_the_controller_reaches_the_gateway_and_only_its_port_of_requests(made: Deployed) -> None:
    spec = made.one("NetworkPolicy", "edge-gateway").inputs["spec"]
    deployment = made.one("Deployment", "edge-gateway").inputs["spec"]
    assert spec["podSelector"] == deployment["selector"]
    assert spec["policyTypes"] == ["Ingress"]
    [rule] = spec["ingress"]
    assert rule["from"] == [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": "traefik"}},
        }
    ]
    [container] = deployment["template"]["spec"]["containers"]
    open_ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert [port["port"] for port in rule["ports"]] == [open_ports["http"]]


def test_a_rollout_never_has_fewer_gateways_than_the_file_says(made: Deployed) -> None:
    deployment = made.one("Deployment", "edge-gateway")
    spec = deployment.inputs["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    pod = spec["template"]["spec"]
    [spread] = pod["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["labelSelector"]) == ("kubernetes.io/hostname", spec["selector"])
    [container] = pod["containers"]
    assert container["lifecycle"]["preStop"]["sleep"]["seconds"] + 120 < pod["terminationGracePeriodSeconds"]
    assert spec["progressDeadlineSeconds"] <= seconds(deployment.create_timeout) == seconds(deployment.update_timeout)
    budget = made.one("PodDisruptionBudget", "edge-gateway").inputs["spec"]
    assert (budget["selector"], budget["maxUnavailable"]) == (spec["selector"], 1)


def mounted(found: Deployed) -> Raw:
    """The sources of the gateway's volumes, by where its container has them."""
    pod = found.one("Deployment", "edge-gateway").inputs["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    [container] = pod["containers"]
    return {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}


def test_nginx_finds_its_configuration_and_keys_where_it_looks(made: Deployed) -> None:
    found = mounted(made)
    configuration = made.one("ConfigMap", "edge-gateway")
    [container] = made.one("Deployment", "edge-gateway").inputs["spec"]["template"]["spec"]["containers"]
    path = container["command"][container["command"].index("-c") + 1]
    assert found[path]["configMap"]["name"] == configuration.inputs["metadata"]["name"]
    assert made.plan.ingress is not None
    assert configuration.inputs["data"] == {"nginx.conf": made.plan.ingress.nginx_conf}
    keys = made.one("Secret", "edge-gateway-keys")
    assert "include /etc/llm-gateway/keys/clients.map;" in made.plan.ingress.nginx_conf
    assert found["/etc/llm-gateway/keys"]["secret"]["secretName"] == keys.inputs["metadata"]["name"]
    assert set(keys.inputs["stringData"]["value"]) == {"clients.map"}  # "value" of what is marked secret


def test_without_keys_there_is_no_secret_to_wait_for(deployed: Deploy, dev: Raw) -> None:
    found = deployed(dev)
    assert found.of("Secret") == []
    assert "/etc/llm-gateway/keys" not in mounted(found)
    assert "apiKeys" not in found.outputs


def test_a_change_of_the_configuration_or_of_a_key_starts_new_pods(deployed: Deploy) -> None:
    def template(changes: Raw) -> Raw:
        raw = copy.deepcopy(VARIANTS["spare-gpu"])
        raw["ingress"] |= changes
        found: Raw = deployed(raw).one("Deployment", "edge-gateway").inputs["spec"]["template"]
        return found

    assert template({}) == template({"apiKeys": VARIANTS["spare-gpu"]["ingress"]["apiKeys"]})
    templates = [
        template({}),
        template({"apiKeys": {"team": "generated"}}),
        template({"routes": {"/v1": {"model": "chat", "timeoutSeconds": 7}, "/help": "help"}}),
        template({"maxBody": "64Mi"}),
    ]
    assert all(one != other for i, one in enumerate(templates) for other in templates[:i])
    annotations = [t["metadata"]["annotations"]["llm-serving/keys-sha256"] for t in templates]
    assert len(set(annotations)) == 2
    assert all(len(text) == 64 for text in annotations)


def test_adding_a_client_leaves_the_keys_of_the_others(deployed: Deploy) -> None:
    raw = copy.deepcopy(VARIANTS["spare-gpu"])
    raw["ingress"]["apiKeys"] |= {"newcomer": "generated"}
    before = {r.urn: r.inputs for r in deployed(VARIANTS["spare-gpu"]).of("Command")}
    after = {r.urn: r.inputs for r in deployed(raw).of("Command")}
    assert before.items() <= after.items()
    assert {urn.rpartition("::")[2] for urn in after.keys() - before.keys()} == {"edge-key-newcomer"}


def test_the_plan_is_the_same_each_time() -> None:
    assert plan(settings_of(VARIANTS["pool"])).ingress == plan(settings_of(VARIANTS["pool"])).ingress
