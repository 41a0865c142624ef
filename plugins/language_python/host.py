"""The LanguageRuntime service: what the engine asks of a language host, for Python."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TypeVar

import grpc
from google.protobuf import empty_pb2  # type: ignore[import-untyped]  # its stubs lie in a namespace package
from pulumi.runtime.proto import language_pb2 as pb
from pulumi.runtime.proto import language_pb2_grpc, plugin_pb2

from plugins._engine import INFO, Engine
from plugins.language_python import installing
from plugins.language_python.children import Children
from plugins.language_python.environment import (
    EnvironmentProblem,
    PythonEnvironment,
    python_environment,
    toolchain_name,
)
from plugins.language_python.packages import dependencies, installed, needed_by_others, required_packages
from plugins.language_python.policy_proxy import PolicyProxy
from plugins.language_python.refused import Refusals, refuse

RUNNER = Path(__file__).with_name("runner.py")
ERROR_WAS_SHOWN = 32
"""Exit code of a program that has shown its own error, so that none is added."""

# pip's version is in the name of its folder; asking pip would take half a second.
_ABOUT = """
import os, sys
print(sys.executable)
print(".".join(map(str, sys.version_info[:3])))
found = [entry[4:-10] for folder in sys.path[1:] if os.path.isdir(folder) for entry in os.listdir(folder)
         if entry.startswith("pip-") and entry.endswith(".dist-info")]
print(found[0] if found else "0.0.0")
"""

T = TypeVar("T")


class LanguageHost(Refusals):
    """Starts programs and policy packs, each in its own environment, and ends them when told to."""

    def __init__(self, engine: str) -> None:
        """`engine` is the engine's address; empty if the handshake brings it."""
        self._engine = engine
        self._children = Children()

    def stop(self) -> None:
        """End all programs and packs, and what they have started and not ended."""
        self._children.stop()
        # The CLI puts a plugin into a process group of its own and interrupts that; a killed CLI cannot.
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGINT)

    def _show(self, output: Iterator[str]) -> None:
        """Show what is installed before a program can run, as passing statuses."""
        engine = Engine(self._engine)
        for line in output:
            engine.status(INFO, line, "")

    def Handshake(
        self, request: pb.LanguageHandshakeRequest, _context: grpc.ServicerContext
    ) -> pb.LanguageHandshakeResponse:
        """Take the engine's address."""
        self._engine = request.engine_address
        return pb.LanguageHandshakeResponse()

    def GetPluginInfo(self, _request: empty_pb2.Empty, _context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        """The version: that of the SDK that the stubs come from."""
        return plugin_pb2.PluginInfo(version=_sdk_version())

    def GetRequiredPackages(
        self, request: pb.GetRequiredPackagesRequest, context: grpc.ServicerContext
    ) -> pb.GetRequiredPackagesResponse:
        """The plugins that the program's installed packages need; installs them first if there is no environment."""

        def ask() -> list[plugin_pb2.PackageDependency]:
            environment = python_environment(request.info)
            self._show(installing.ensure(environment))
            return required_packages(installed(environment))

        return pb.GetRequiredPackagesResponse(packages=_or_abort(context, ask))

    def GetProgramDependencies(
        self, request: pb.GetProgramDependenciesRequest, context: grpc.ServicerContext
    ) -> pb.GetProgramDependenciesResponse:
        """The program's installed packages; those that another one needs only if `transitiveDependencies`."""

        def ask() -> list[pb.DependencyInfo]:
            environment = python_environment(request.info)
            needed = frozenset() if request.transitiveDependencies else needed_by_others(environment)
            return dependencies(installed(environment), needed)

        return pb.GetProgramDependenciesResponse(dependencies=_or_abort(context, ask))

    def About(self, request: pb.AboutRequest, context: grpc.ServicerContext) -> pb.AboutResponse:
        """The interpreter, its version and that of what installs packages. Every preview and update asks."""
        environment = _or_abort(context, lambda: python_environment(request.info))
        python = _or_abort(context, environment.python)
        done = subprocess.run(
            [python, "-c", _ABOUT], capture_output=True, text=True, check=False, env=environment.variables()
        )
        if done.returncode:
            context.abort(grpc.StatusCode.UNKNOWN, f"{python} does not run: {done.stderr.strip()}")
        executable, version, toolchain_version = done.stdout.splitlines()
        uv = shutil.which("uv") if environment.toolchain == "uv" else None
        if uv:
            toolchain_version = subprocess.check_output([uv, "--version"], text=True).split()[1]
        return pb.AboutResponse(
            executable=executable,
            version=version,
            metadata={
                "toolchain": toolchain_name(request.info),
                "toolchainVersion": toolchain_version,
                "typechecker": "None",
            },
        )

    def InstallDependencies(
        self, request: pb.InstallDependenciesRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.InstallDependenciesResponse]:
        """Create the environment and install what requirements.txt or uv.lock names."""
        if request.is_plugin:
            refuse(context, "installing a plugin's own packages (pulumi install, for a plugin in Python)")
        if request.use_language_version_tools:
            refuse(context, "installing Python itself (pulumi install --use-language-version-tools)")
        environment = _or_abort(context, lambda: python_environment(request.info))
        yield pb.InstallDependenciesResponse(stdout=b"Installing dependencies...\n\n")
        try:
            for line in installing.install(environment):
                yield pb.InstallDependenciesResponse(stdout=line.encode())
        except EnvironmentProblem as problem:
            context.abort(grpc.StatusCode.UNKNOWN, str(problem))
        yield pb.InstallDependenciesResponse(stdout=b"Finished installing dependencies\n\n")

    def RuntimeOptionsPrompts(
        self, _request: pb.RuntimeOptionsRequest, _context: grpc.ServicerContext
    ) -> pb.RuntimeOptionsResponse:
        """Nothing to ask: what Pulumi.yaml says is all there is."""
        return pb.RuntimeOptionsResponse()

    def Template(self, request: pb.TemplateRequest, context: grpc.ServicerContext) -> pb.TemplateResponse:
        """Make a new project (`pulumi new`) ready for its toolchain."""
        _or_abort(context, lambda: list(installing.prepare(python_environment(request.info))))
        return pb.TemplateResponse()

    def Run(self, request: pb.RunRequest, context: grpc.ServicerContext) -> pb.RunResponse:
        """Run a program to its end; its output is this process's output."""
        if request.attach_debugger:
            refuse(context, "attaching a debugger")
        environment = _or_abort(context, lambda: python_environment(request.info))
        python = _or_abort(context, environment.python)
        # -u: what the program prints and what it writes to standard error come in the order in which they were said.
        command = [python, "-u", str(RUNNER), *_program_arguments(request, self._engine)]
        variables = environment.variables() | {
            "PULUMI_CONFIG": json.dumps(dict(request.config)),
            "PULUMI_CONFIG_SECRET_KEYS": json.dumps(list(request.configSecretKeys)),
        }
        process = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL)
        context.add_callback(lambda: _end_abandoned(self._children, process))
        with self._children.keep(process):
            code = process.wait()
        if code == ERROR_WAS_SHOWN:
            return pb.RunResponse(bail=True)
        if code < 0:
            # -1 is all that the official host says of a signal; the out-of-memory killer's is 9.
            return pb.RunResponse(error=f"program exited with non-zero exit code: -1 (ended by signal {-code})")
        return pb.RunResponse(error=f"program exited with non-zero exit code: {code}" if code else "")

    def RunPlugin(self, request: pb.RunPluginRequest, context: grpc.ServicerContext) -> Iterator[pb.RunPluginResponse]:
        """Run a policy pack; its output comes as a stream, its end with its exit code."""
        if request.kind != "analyzer":
            refuse(context, f"running a plugin of kind {request.kind} in Python ({request.name})")
        if request.attach_debugger:
            refuse(context, "attaching a debugger")
        environment = _or_abort(context, lambda: python_environment(request.info))
        _or_abort(context, lambda: self._show(installing.sync(environment)))
        python = _or_abort(context, environment.python)
        proxy = PolicyProxy()
        try:
            yield pb.RunPluginResponse(stdout=f"{proxy.port}\n".encode())
            yield from self._run_pack(request, context, environment, python, proxy)
        finally:
            proxy.close()

    def _run_pack(
        self,
        request: pb.RunPluginRequest,
        context: grpc.ServicerContext,
        environment: PythonEnvironment,
        python: str,
        proxy: PolicyProxy,
    ) -> Iterator[pb.RunPluginResponse]:
        folder = request.info.program_directory
        context.add_callback(proxy.close)
        told = proxy.environment()
        variables = environment.variables(dict(entry.split("=", 1) for entry in request.env)) | told
        process = subprocess.Popen(
            [python, "-u", "-m", "pulumi.policy", *request.args, folder],
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        context.add_callback(lambda: _end_abandoned(self._children, process))
        with self._children.keep(process):
            for name, line in _lines(process):
                if name == "stdout" and told is not None and line.strip().isdigit():
                    proxy.attach(int(line))
                    told = None  # type: ignore[assignment]  # only the first number is the port
                    continue
                yield pb.RunPluginResponse(stdout=line) if name == "stdout" else pb.RunPluginResponse(stderr=line)
            yield pb.RunPluginResponse(exitcode=process.wait())

    def Cancel(self, _request: empty_pb2.Empty, _context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Interrupt what runs, without waiting for its end: the engine waits for that in Run."""
        threading.Thread(target=self._children.stop).start()
        return empty_pb2.Empty()


def _sdk_version() -> str:
    from importlib.metadata import version  # 0.02 s, and not needed before a caller wants it

    return version("pulumi")


def _program_arguments(request: pb.RunRequest, engine: str) -> list[str]:
    """The runner's arguments: each as --name value if the engine has given one, then the program and its own."""
    named = {
        "monitor": request.monitor_address,
        "engine": engine,
        "project": request.project,
        "root_directory": request.info.root_directory,
        "stack": request.stack,
        "pwd": request.pwd,
        "dry_run": "true" if request.dryRun else "false",
        "parallel": str(request.parallel),
        "organization": request.organization,
    }
    options = [part for name, value in named.items() if value for part in (f"--{name}", value)]
    return [*options, request.info.entry_point, *request.args]


def _lines(process: subprocess.Popen[bytes]) -> Iterator[tuple[str, bytes]]:
    """What `process` writes, as (`stdout` or `stderr`, line), until both have ended."""
    lines: queue.Queue[tuple[str, bytes | None]] = queue.Queue()

    def read(name: str, stream: IO[bytes]) -> None:
        for line in stream:
            lines.put((name, line))
        lines.put((name, None))

    streams = {"stdout": process.stdout, "stderr": process.stderr}
    readers = [threading.Thread(target=read, args=item, daemon=True) for item in streams.items() if item[1]]
    for reader in readers:
        reader.start()
    ended = 0
    while ended < len(readers):
        name, line = lines.get()
        if line is None:
            ended += 1
        else:
            yield name, line


def _end_abandoned(children: Children, process: subprocess.Popen[bytes]) -> None:
    """End a process whose call is over; gRPC's callbacks must return at once."""
    if process.poll() is None:
        threading.Thread(target=children.end, args=(process,)).start()


def _or_abort(context: grpc.ServicerContext, ask: Callable[[], T]) -> T:
    """What `ask` gives, or the call's end with the problem as its message."""
    try:
        return ask()
    except EnvironmentProblem as problem:
        context.abort(grpc.StatusCode.UNKNOWN, str(problem))


def register(host: LanguageHost, server: grpc.Server) -> None:
    """Add `host` to `server`."""
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server)
