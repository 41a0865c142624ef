"""The provider's configuration, the owners of fields, discovery without a server, and requests to one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client.configuration import Configuration

from plugins._values import UNKNOWN
from plugins.kubernetes import cluster as cluster_module
from plugins.kubernetes import config
from plugins.kubernetes.cluster import ApiError, Cluster, Unreachable
from plugins.kubernetes.connection import Connection
from plugins.kubernetes.discovery import Discovery, Resource, UnknownKind
from plugins.kubernetes.kinds import namespaced_by_name
from plugins.kubernetes.ownership import apply_ignored, as_applied, path_parts, was_written


def kubeconfig(server: str = "https://a", current: str = "one") -> dict[str, Any]:
    return {
        "clusters": [
            {"name": "one", "cluster": {"server": server}},
            {"name": "two", "cluster": {"server": "https://b"}},
        ],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [
            {"name": "one", "context": {"cluster": "one", "user": "u", "namespace": "apps"}},
            {"name": "two", "context": {"cluster": "two", "user": "u"}},
        ],
        "current-context": current,
    }


def test_options_that_are_not_done_are_refused_by_name_and_engines_own_are_not() -> None:
    given = {"kubeClientSettings": {"qps": 1}, "helmReleaseSettings": {"a": 1}, "version": "4", "kubeconfig": "x"}
    assert [name for name, _ in config.problems(given)] == ["helmReleaseSettings", "kubeClientSettings"]
    assert config.problems({"renderYamlToDirectory": "", "strictMode": False}) == []


def test_client_side_apply_is_refused_by_option_and_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.problems({"enableServerSideApply": False})[0][0] == "enableServerSideApply"
    assert config.problems({"enableServerSideApply": "true"}) == []
    monkeypatch.setenv("PULUMI_K8S_ENABLE_SERVER_SIDE_APPLY", "false")
    assert config.problems({})[0][0] == "enableServerSideApply"


def test_a_folder_for_files_and_a_named_cluster_contradict_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/ambient")
    both = {"renderYamlToDirectory": "out", "kubeconfig": "x", "context": "c", "cluster": "d"}
    assert sorted(config.problems(both)) == [
        (name, f'"{name}" arg is not compatible with "renderYamlToDirectory" arg')
        for name in ("cluster", "context", "kubeconfig")
    ]
    assert config.problems({"renderYamlToDirectory": "out", "kubeconfig": "/ambient", "alwaysRender": "true"}) == []
    assert config.problems({"alwaysRender": True}) == [
        ("alwaysRender", '"alwaysRender" requires "renderYamlToDirectory" to be set')
    ]


def test_a_kubeconfig_is_taken_as_content_as_path_and_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = json.dumps(kubeconfig())
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(path))
    for given in ({"kubeconfig": text}, {"kubeconfig": str(path)}, {}):
        found = config.kubeconfig(given)
        assert config.active_cluster(found) == {"server": "https://a"}
        assert config.active_context(found or {})["namespace"] == "apps"


def test_files_that_a_kubeconfig_names_are_found_beside_it(tmp_path: Path) -> None:
    content = kubeconfig()
    content["clusters"][0]["cluster"]["certificate-authority"] = "ca.crt"
    (tmp_path / "kubeconfig").write_text(json.dumps(content))
    found = config.active_cluster(config.kubeconfig({"kubeconfig": str(tmp_path / "kubeconfig")}))
    assert found["certificate-authority"] == str(tmp_path / "ca.crt")


def test_context_and_cluster_choose_within_the_kubeconfig() -> None:
    text = json.dumps(kubeconfig())
    assert config.active_cluster(config.kubeconfig({"kubeconfig": text, "context": "two"}))["server"] == "https://b"
    assert config.active_cluster(config.kubeconfig({"kubeconfig": text, "cluster": "two"}))["server"] == "https://b"


@pytest.mark.parametrize("given", ["/no/such/file", "plain words", "a: [unclosed\n", "{}"])
def test_a_kubeconfig_that_is_none_is_said(given: str) -> None:
    with pytest.raises(config.BadKubeconfig):
        config.kubeconfig({"kubeconfig": given})


def test_another_cluster_replaces_and_other_credentials_do_not() -> None:
    one, moved = json.dumps(kubeconfig()), json.dumps(kubeconfig("https://elsewhere"))
    rotated = kubeconfig()
    rotated["users"][0]["user"]["token"] = "another"
    assert config.replacing_changes({"kubeconfig": one}, {"kubeconfig": json.dumps(rotated)}) == []
    assert config.replacing_changes({"kubeconfig": one}, {"kubeconfig": moved}) == ["kubeconfig"]


def test_the_cluster_identifier_decides_where_it_is_set() -> None:
    one, moved = json.dumps(kubeconfig()), json.dumps(kubeconfig("https://elsewhere"))
    same = {"kubeconfig": one, "clusterIdentifier": "lab"}
    assert config.replacing_changes(same, {"kubeconfig": moved, "clusterIdentifier": "lab"}) == []
    assert config.replacing_changes(same, {"kubeconfig": one, "clusterIdentifier": "prod"}) == ["clusterIdentifier"]


def test_an_unknown_cluster_is_another_one_unless_the_identifier_says_otherwise() -> None:
    one = {"kubeconfig": json.dumps(kubeconfig())}
    assert config.replacing_changes(one, {"kubeconfig": UNKNOWN}) == ["kubeconfig"]
    same = {"clusterIdentifier": "lab"}
    assert config.replacing_changes({**one, **same}, {"kubeconfig": UNKNOWN, **same}) == []
    other = config.replacing_changes({**one, **same}, {"kubeconfig": UNKNOWN, "clusterIdentifier": "prod"})
    assert other == ["clusterIdentifier", "kubeconfig"]


def test_an_identifier_or_a_kubeconfig_that_comes_or_goes_replaces_nothing() -> None:
    one = {"kubeconfig": json.dumps(kubeconfig())}
    assert config.replacing_changes(one, {**one, "clusterIdentifier": "lab"}) == []
    assert config.replacing_changes({**one, "clusterIdentifier": "lab"}, one) == []
    assert config.replacing_changes(one, {}) == []


def test_another_folder_for_files_replaces() -> None:
    assert config.replacing_changes({"renderYamlToDirectory": "a"}, {"renderYamlToDirectory": "b"}) == [
        "renderYamlToDirectory"
    ]


def test_objects_go_to_the_named_namespace_else_to_the_contexts() -> None:
    assert config.options({"namespace": "mine"}, "apps").namespace == "mine"
    assert config.options({}, "apps").namespace == "apps"
    assert config.options({}, "").namespace == "default"


def entry(manager: str, operation: str, fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "fieldsV1": fields, **more}


def live(*entries: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"metadata": {"managedFields": list(entries)}, **fields}


CREATED = entry("pulumi-kubernetes", "Update", {"f:spec": {"f:replicas": {}, "f:a": {}}})
STATUS = entry("kube-controller-manager", "Update", {"f:status": {}}, subresource="status")


def test_fields_of_the_creation_become_those_of_the_apply() -> None:
    applied = as_applied(live(CREATED, STATUS), "pulumi-kubernetes-1")
    assert applied == [{**CREATED, "manager": "pulumi-kubernetes-1", "operation": "Apply"}, STATUS]
    assert as_applied(live(*applied), "pulumi-kubernetes-1") is None
    assert not was_written(live(*applied))


def test_fields_of_an_earlier_apply_are_kept_when_those_of_a_write_are_taken_over() -> None:
    earlier = entry("pulumi-kubernetes-1", "Apply", {"f:spec": {"f:b": {}}})
    applied = as_applied(live(earlier, CREATED), "pulumi-kubernetes-1")
    assert applied == [{**earlier, "fieldsV1": {"f:spec": {"f:b": {}, "f:replicas": {}, "f:a": {}}}}]


def test_an_ignored_field_that_only_others_own_is_left_to_them() -> None:
    theirs = entry("kube-controller-manager", "Update", {"f:spec": {"f:replicas": {}}}, subresource="scale")
    ours = entry("pulumi-kubernetes-1", "Apply", {"f:spec": {"f:a": {}}})
    inputs = {"spec": {"replicas": 1, "a": "x"}}
    obj = live(theirs, ours, spec={"replicas": 3, "a": "x"})
    assert apply_ignored(inputs, obj, ["spec.replicas"], "pulumi-kubernetes-1") == {"spec": {"a": "x"}}
    assert inputs["spec"]["replicas"] == 1


def test_an_ignored_field_of_ours_is_applied_as_it_is_now() -> None:
    inputs = {"spec": {"replicas": 1, "a": "x"}}
    obj = live(CREATED, spec={"replicas": 3, "a": "x"})
    assert apply_ignored(inputs, obj, ["spec.replicas"], "pulumi-kubernetes-1") == {"spec": {"replicas": 3, "a": "x"}}


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("spec.replicas", ["spec", "replicas"]),
        ("spec.containers[0].image", ["spec", "containers", 0, "image"]),
        ('metadata.annotations["a.b/c"]', ["metadata", "annotations", "a.b/c"]),
    ],
)
def test_property_paths_are_read_as_they_are_written(path: str, parts: list[str | int]) -> None:
    assert path_parts(path) == parts


def test_paths_on_the_server_follow_group_scope_and_name() -> None:
    obj = {"metadata": {"name": "a b", "namespace": "n"}}
    assert Resource("v1", "pods", namespaced=True).item_path(obj) == "/api/v1/namespaces/n/pods/a%20b"
    assert (
        Resource("apps/v1", "deployments", namespaced=True).path({}) == "/apis/apps/v1/namespaces/default/deployments"
    )
    assert Resource("v1", "nodes", namespaced=False).item_path(obj, "x") == "/api/v1/nodes/x"


def test_the_scope_of_built_in_kinds_is_known_without_a_server() -> None:
    assert not namespaced_by_name("v1", "Namespace")
    assert not namespaced_by_name("node.k8s.io/v1", "RuntimeClass")
    assert namespaced_by_name("apps/v1", "Deployment")
    assert namespaced_by_name("example.test/v1", "Namespace")
    assert namespaced_by_name("policy.networking.k8s.io/v1alpha1", "IngressClass")


def test_the_scope_of_a_kind_that_the_program_defines_is_learned_from_its_definition() -> None:
    connection = Connection(config.options({}, ""), "no cluster")
    fleet = {"apiVersion": "example.test/v1", "kind": "Fleet", "metadata": {"name": "a", "namespace": "b"}}
    assert connection.namespaced(fleet)
    spec = {"group": "example.test", "scope": "Cluster", "names": {"kind": "Fleet"}}
    connection.learn({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "spec": spec})
    assert not connection.namespaced(fleet)
    assert connection.canonical(fleet)["metadata"] == {"name": "a"}
    assert connection.namespaced({**fleet, "apiVersion": "other.test/v1"})


class Server:
    """An HTTP server that gives prepared answers in turn, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, Any], dict[str, str]]] = []
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def handle_one(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers_sent = {name.lower(): value for name, value in self.headers.items()}
                outer.requests.append((self.command, self.path, headers_sent, body))
                code, answer, headers = outer.answers.pop(0)
                self.send_response(code)
                for name, value in headers.items():
                    self.send_header(name, value)
                data = json.dumps(answer).encode()
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = do_DELETE = handle_one

            def log_message(self, *_: object) -> None:
                """Tests are quiet."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def cluster(self) -> Cluster:
        """A client of it, with a token."""
        configuration = Configuration()
        configuration.host = self.url
        configuration.api_key["BearerToken"] = "Bearer secret"
        return Cluster(configuration, threading.Event())

    def say(self, code: int, answer: dict[str, Any], **headers: str) -> None:
        """Prepare an answer."""
        self.answers.append((code, answer, headers))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(cluster_module, "RETRY_SECONDS", 1.0)
    monkeypatch.setattr(cluster_module, "_FIRST_PAUSE", 0.05)
    found = Server()
    thread = threading.Thread(target=found.http.serve_forever)
    thread.start()
    yield found
    found.http.shutdown()
    thread.join()
    found.http.server_close()


def test_a_request_carries_the_credentials_and_the_query(server: Server) -> None:
    server.say(200, {"kind": "Pod"})
    assert server.cluster().request("PATCH", "/x", body={"a": 1}, content_type="t/x", query={"force": "true"}) == {
        "kind": "Pod"
    }
    method, path, headers, body = server.requests[0]
    assert (method, path, json.loads(body)) == ("PATCH", "/x?force=true", {"a": 1})
    assert (headers["authorization"], headers["content-type"]) == ("Bearer secret", "t/x")


def test_the_servers_warnings_are_handed_on(server: Server) -> None:
    heard: list[str] = []
    server.say(200, {}, Warning='299 - "unknown field \\"spec.x\\""')
    server.cluster().request("POST", "/x", body={}, on_warning=heard.append)
    assert heard == ['unknown field "spec.x"']


def test_a_refusal_is_told_by_its_reason(server: Server) -> None:
    server.say(409, {"reason": "AlreadyExists", "message": 'configmaps "a" already exists'})
    with pytest.raises(ApiError, match="already exists") as caught:
        server.cluster().get("/x")
    assert caught.value.already_exists
    server.say(404, {"reason": "NotFound", "message": "no", "details": {"kind": "namespaces", "name": "n"}})
    with pytest.raises(ApiError) as caught:
        server.cluster().get("/x")
    assert caught.value.namespace_not_found


def test_a_busy_server_is_asked_again(server: Server) -> None:
    server.say(503, {})
    server.say(429, {})
    server.say(200, {"ok": True})
    assert server.cluster().get("/x") == {"ok": True}


def test_a_server_that_does_not_answer_is_given_up_with_its_address() -> None:
    configuration = Configuration()
    configuration.host = "http://127.0.0.1:1"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster_module, "RETRY_SECONDS", 0.2)
        with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:1 cannot be reached: .* Gave up after 0 s"):
            Cluster(configuration, threading.Event()).get("/x")


def test_a_kind_is_asked_for_once_and_again_where_it_was_not_there(server: Server) -> None:
    discovery = Discovery(server.cluster())
    group = {
        "resources": [
            {"name": "gadgets", "kind": "Gadget", "namespaced": True},
            {"name": "gadgets/status", "kind": "Gadget", "namespaced": True},
        ]
    }
    server.say(404, {})
    with pytest.raises(UnknownKind, match=r'no matches for kind "Gadget" in version "example\.test/v1"'):
        discovery.resource("example.test/v1", "Gadget")
    server.say(200, group)
    for _ in range(2):
        assert discovery.resource("example.test/v1", "Gadget").plural == "gadgets"
    assert len(server.requests) == 2


PODS = {"resources": [{"name": "pods", "kind": "Pod", "namespaced": True}]}


class Away:
    """A cluster that serves v1, and gives all else up after a moment."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.waiting = threading.Event()

    def get(self, path: str) -> dict[str, Any]:
        self.asked.append(path)
        if path == "/api/v1":
            return PODS
        self.waiting.set()
        time.sleep(0.5)
        raise ApiError(503, "ServiceUnavailable", "away")


def test_a_group_that_is_away_keeps_no_other_one_waiting() -> None:
    cluster: Any = Away()  # a stand-in of it
    discovery = Discovery(cluster)
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(discovery.resource, "metrics.k8s.io/v1beta1", "PodMetrics")
        assert cluster.waiting.wait(10)
        assert discovery.resource("v1", "Pod").plural == "pods"
        assert not asking.done()


def test_who_waits_for_anothers_answer_fails_with_it_and_who_comes_later_asks_again() -> None:
    cluster: Any = Away()
    discovery = Discovery(cluster)

    def ask(_number: int = 0) -> str:
        with pytest.raises(ApiError, match="away"):
            discovery.resource("metrics.k8s.io/v1beta1", "PodMetrics")
        return "failed"

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(ask, range(6))) == ["failed"] * 6
    assert len(cluster.asked) == 1
    ask()
    assert len(cluster.asked) == 2
