"""Workers for tests: real ones, and stand-ins that answer something else or break off.

Knows sockets, processes and the framing of llama.cpp's RPC protocol.
"""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from aded_edge.llamacpp.devices import rpc_function
from aded_edge.llamacpp.greeting import _exactly as exactly

ROOT = Path(__file__).resolve().parent.parent

needs_rpc = pytest.mark.skipif(
    rpc_function("ggml_backend_rpc_add_server", None) is None,
    reason="this llama.cpp was built without -DGGML_RPC=ON, which scripts/ set",
)

START_SECONDS = 60


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def worker(*options, port=None, prefix=()):
    """A real worker as `aded-edge worker` starts it: its process, with `port` and `address`."""
    port = port or free_port()
    command = [*prefix, sys.executable, "-m", "aded_edge", "worker", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--threads", "1", *options],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    process.port, process.address = port, f"127.0.0.1:{port}"
    try:
        process.said = said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("worker on"):
                break
        else:
            raise AssertionError(f"the worker did not start: {said}")
        if not prefix:
            wait_until_it_listens(port)
        yield process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def wait_until_it_listens(port, host="127.0.0.1"):
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            socket.create_connection((host, port), 5).close()
            return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on {port}")


@contextlib.contextmanager
def server(behave, host="127.0.0.1"):
    """A server that calls `behave(connection)` for each connection; gives its port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, 0), family=family)
    open_ones = []

    def serve():
        with contextlib.suppress(OSError):  # closed below
            while True:
                connection, _ = listener.accept()
                open_ones.append(connection)
                with contextlib.suppress(OSError, EOFError):
                    behave(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in open_ones:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        thread.join()


def request(connection):
    """The next request: its command and its body."""
    head = exactly(connection, 9)
    return head[0], exactly(connection, int.from_bytes(head[1:], "little"))


def reply(connection, body):
    connection.sendall(len(body).to_bytes(8, "little") + body)


class Cut:
    """Stands before a real worker and breaks off at a chosen place.

    Attributes:
        passed: bytes passed on so far, in both directions.
        at: number of bytes after which it breaks off; None for never.
    """

    def __init__(self, port):
        self._port = port
        self.passed = 0
        self.at = None

    def __call__(self, connection):
        with socket.create_connection(("127.0.0.1", self._port)) as real:
            back = threading.Thread(target=self._pass_on, args=(real, connection), daemon=True)
            back.start()
            self._pass_on(connection, real)
            back.join()

    def _pass_on(self, source, sink):
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                if self.at is not None and self.passed + len(piece) > self.at:
                    sink.sendall(piece[: max(self.at - self.passed, 0)])
                    break
                self.passed += len(piece)
                sink.sendall(piece)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
