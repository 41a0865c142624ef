"""Images that stand for real ones start as these do: same entry point, user, folders that may be written."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import get_args

import pytest

from lab import packages, recipes
from lab.images import Entry, Image
from lab.spec import Role

GATEWAY = Path(recipes.__file__).parent / "standins/gateway"


@pytest.fixture(scope="session", autouse=True)
def debian_packages() -> None:
    """nginx, envsubst and busybox, which are taken from the machine."""
    packages.ensure()


@pytest.fixture
def programs() -> dict[str, Path]:
    """Something in the place of each Go program, with the shared libraries of a program that has some."""
    names = {name for names in recipes.ROLE_PROGRAMS.values() for name in names}
    return dict.fromkeys(names | set(recipes.ROLE_WHEELS.values()), Path("/usr/bin/env"))


def image(role: Role, programs: dict[str, Path]) -> Image:
    return recipes.role_image(role, programs, Path("/etc/passwd"), Path("/etc/hostname"))


def entry(found: Image, path: str) -> Entry:
    return next(item for item in found.entries if item.path == path)


def test_every_role_has_an_image_that_starts_a_file_in_it(programs: dict[str, Path]) -> None:
    for role in get_args(Role):
        made = image(role, programs)
        command = made.entrypoint[0]
        names = {item.path for item in made.entries}
        assert command in names or {f"{folder}/{command}" for folder in ("/usr/bin", "/usr/local/bin")} & names, role


def test_every_file_of_an_image_is_on_the_machine(programs: dict[str, Path]) -> None:
    for role in get_args(Role):
        gone = [item.path for item in image(role, programs).entries if item.source and not item.source.exists()]
        assert gone == [], role


@pytest.mark.parametrize(
    ("role", "user", "entrypoint"),
    [
        ("prometheus", "nobody", "/bin/prometheus"),
        ("prometheusAdapter", "65534", "/adapter"),
        ("gateway", "101", "/docker-entrypoint.sh"),
        ("grafana", "472", "/run.sh"),
        ("dcgmExporter", "", "/usr/bin/dcgm-exporter"),
    ],
)
def test_user_and_entry_point_are_the_real_images(
    role: Role, user: str, entrypoint: str, programs: dict[str, Path]
) -> None:
    made = image(role, programs)
    assert (made.user, made.entrypoint[0]) == (user, entrypoint)


def test_folders_that_the_user_writes_are_its_own(programs: dict[str, Path]) -> None:
    assert entry(image("prometheus", programs), "/prometheus").owner == 65534
    assert entry(image("gateway", programs), "/etc/nginx/conf.d").owner == 101
    assert entry(image("grafana", programs), "/var/lib/grafana").owner == 472


def test_nginx_is_asked_to_end_gracefully(programs: dict[str, Path]) -> None:
    """SIGTERM cuts the streams off; the real image has SIGQUIT, which does not."""
    assert image("gateway", programs).stop_signal == "SIGQUIT"


def test_nginx_finds_its_libraries(programs: dict[str, Path]) -> None:
    paths = {item.path for item in image("gateway", programs).entries}
    for name in ("libpcre2-8.so.0", "libssl.so.3", "libz.so.1", "ld-linux"):
        assert any(name in path for path in paths), name


def test_nginx_takes_the_images_own_configuration(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    for file in ("nginx.conf", "conf.d/default.conf"):
        text = (GATEWAY / file).read_text().replace("/tmp/", f"{tmp_path}/")
        text = text.replace("include /etc/nginx/conf.d", f"include {tmp_path}/conf.d")
        (tmp_path / file).write_text(text.replace("/var/log/nginx", str(tmp_path)))
    checked = subprocess.run(
        ["/usr/sbin/nginx", "-t", "-c", str(tmp_path / "nginx.conf")], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert checked.stderr.count("ok") == 1


def test_templates_get_the_variables_that_are_set_and_keep_nginx_own(tmp_path: Path) -> None:
    for folder in ("templates/sub", "conf.d"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "templates/sub/a.conf.template").write_text("${LAB_GREETING} ${HIDDEN} $host\n")
    (tmp_path / "templates/other.conf").write_text("$LAB_GREETING")
    environment = {
        "PATH": os.environ["PATH"],
        "LAB_GREETING": "hello",
        "HIDDEN": "x",
        "NGINX_ENVSUBST_FILTER": "^LAB_",
        "NGINX_ENVSUBST_TEMPLATE_DIR": str(tmp_path / "templates"),
        "NGINX_ENVSUBST_OUTPUT_DIR": str(tmp_path / "conf.d"),
    }
    script = GATEWAY / "docker-entrypoint.d/20-envsubst-on-templates.sh"
    # With the image's own shell and tools, but for envsubst.
    subprocess.run(["/bin/busybox", "sh", str(script)], env=environment, check=True, capture_output=True)
    made = [file for file in (tmp_path / "conf.d").rglob("*") if file.is_file()]
    assert made == [tmp_path / "conf.d/sub/a.conf"]
    assert made[0].read_text() == "hello ${HIDDEN} $host\n"


def test_llama_server_gets_all_that_is_written_but_the_model_and_the_caches_type(tmp_path: Path) -> None:
    script = tmp_path / "llama-server.sh"
    text = (GATEWAY.parent / "llama_server.sh").read_text()
    script.write_text(text.replace("/app/lab/llama-server", "printf '%s|'"))
    written = [
        "--hf-repo",
        "a/b:Q4_K_M",
        "--jinja",
        "--hf-file",
        "x y.gguf",
        "--cache-type-k",
        "q8_0",
        "--alias",
        "s t",
    ]
    done = subprocess.run(["/bin/busybox", "sh", str(script), *written], capture_output=True, text=True, check=True)
    given = ["--model", "/app/lab/model.gguf", "--jinja", "--cache-type-k", "f16", "--alias", "s t", ""]
    assert done.stdout.split("|") == given


def test_entry_point_hands_over_to_its_command() -> None:
    script = GATEWAY / "docker-entrypoint.sh"
    done = subprocess.run([str(script), "echo", "started"], capture_output=True, text=True, check=True)
    assert done.stdout == "started\n"
