"""Runs a plugin's gRPC server the way the Pulumi CLI expects it.

The CLI starts a plugin with the engine's address as its argument, reads the server's port from the first line of
output, and ends it with SIGINT. A plugin also ends by itself when the engine is gone, so that a killed CLI leaves
nothing behind.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

import grpc

CHANNEL_OPTIONS = [
    # Pulumi's own limit for one message; the default of 4 MB is too small for large states.
    ("grpc.max_receive_message_length", 400 * 1024 * 1024),
    ("grpc.max_send_message_length", 400 * 1024 * 1024),
    # A request may wait for a free thread as long as an operation before it takes, not just 30 s.
    ("grpc.server_max_unrequested_time_in_server", 24 * 3600),
]
GRACE_SECONDS = 2.0
"""How long calls under way may take to end once the plugin is told to stop. The CLI kills after 5 s."""

PARENT_SECONDS = 1.0
"""How often a plugin looks whether the process that started it still lives."""


def engine_address(arguments: list[str]) -> str:
    """The engine's address among a plugin's command-line arguments; empty if it was started by hand.

    It comes last: flags go before it, and some of them (`--tracing`) bring a value that looks like one.
    """
    return arguments[-1] if arguments and not arguments[-1].startswith("-") else ""


def serve(register: Callable[[grpc.Server], None], *, engine: str, threads: int, on_stop: Callable[[], None]) -> None:
    """Serve until a signal comes or the engine is gone, then end the process.

    Args:
        register: adds the plugin's service to the server.
        engine: address of the engine to watch; empty to watch none.
        threads: calls served at the same time.
        on_stop: called once before the server stops; has to make calls under way end.
    """
    server = grpc.server(ThreadPoolExecutor(threads), options=CHANNEL_OPTIONS)
    register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    server.start()
    watched = watch(engine, stop.set) if engine else None
    print(port, flush=True)
    parent = os.getppid()
    # The CLI may be killed without a word; its sockets then tell nothing for as long as nobody calls.
    while not stop.wait(PARENT_SECONDS) and os.getppid() == parent:
        pass
    on_stop()
    server.stop(GRACE_SECONDS).wait()
    if watched is not None:
        watched.close()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of the pool that still wait for a cluster or a command must not keep the process alive.
    os._exit(0)


def watch(engine: str, gone: Callable[[], None]) -> grpc.Channel:
    """Call `gone` when the engine at `engine` cannot be reached, or not any more; returns the channel that watches."""
    channel = grpc.insecure_channel(engine, options=CHANNEL_OPTIONS)

    def changed(state: grpc.ChannelConnectivity) -> None:
        # Also before it was ever reached: the engine listens before it starts a plugin, and may end while that starts.
        if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            gone()

    channel.subscribe(changed, try_to_connect=True)
    return channel
