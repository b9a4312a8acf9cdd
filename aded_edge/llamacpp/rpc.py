"""Workers: other machines (or processes) that hold layers of a model and evaluate them.

llama.cpp calls a worker that is absent, of another version, or dying a fatal error and ends the
process. So each of them is greeted first (`greeting.py`), and then a relay (`relay.py`) stands
between it and llama.cpp. A worker that is lost later becomes a `WorkerError` at the next check, and
the program goes on.

Knows relays, and how llama.cpp is told of devices. Does not know what is evaluated on them, nor how
a worker is started (`worker.py`).
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import select
import socket
import subprocess
import sys
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import llama_cpp

from aded_edge.errors import ConfigError, WorkerError

from . import relay
from .devices import devices_of, gpus, rpc_function
from .greeting import Server, connect, servers_in

WITHOUT_RPC = (
    "this build of llama.cpp has no RPC backend, so it cannot use workers; compile it again: "
    'CMAKE_ARGS="-DGGML_RPC=ON" pip install --no-binary llama-cpp-python --no-cache-dir '
    "--force-reinstall --no-deps llama-cpp-python==0.3.36"
)


class Workers:
    """The workers of one model, connected until `close`.

    Args:
        servers: their addresses.

    Attributes:
        servers: their addresses, as the user gave them.
        devices: addresses of ggml's devices and a null at the end, for
            `llama_model_params.devices`: those of the workers first, as llama.cpp orders them, then
            this machine's GPUs.
        memory: bytes that the workers have for the model, together.
        process: the id of the process that connected to them.

    Raises:
        ConfigError: this build cannot use workers.
        WorkerError: one of them cannot be used.
    """

    def __init__(self, servers: list[Server]) -> None:
        add = rpc_function("ggml_backend_rpc_add_server", ctypes.c_void_p, ctypes.c_char_p)
        if add is None:
            raise ConfigError(WITHOUT_RPC)
        self.servers = [server.text for server in servers]
        self.memory = 0
        self.process = os.getpid()
        self._lost: str | None = None
        self._relays: list[_Relay] = []
        connections: list[socket.socket] = []
        try:
            for server in servers:
                connection, memory = connect(server)
                connections.append(connection)
                self.memory += memory
            for server, connection in zip(servers, connections, strict=True):
                self._relays.append(_Relay(server, connection))
            found = [devices_of(add(each.endpoint.encode())) for each in self._relays]
            self.check()
        except BaseException:
            self.close()
            raise
        finally:
            for connection in connections:
                connection.close()  # the relays have their own copies
        every = [*itertools.chain(*found), *gpus()]
        self.devices = (ctypes.c_void_p * (len(every) + 1))(*every, None)

    def check(self) -> None:
        """Check that all workers are still there.

        Call it before an evaluation, and again before its result is used: it means nothing if a
        worker was lost meanwhile.

        Raises:
            WorkerError: one is lost, now or earlier.
        """
        for each in self._relays:
            if self._lost is None and (reason := each.lost()) is not None:
                self._lost = (
                    f"the worker {each.server.text} is lost: {reason}; start it again and load the "
                    "model again"
                )
        if self._lost is not None:
            raise WorkerError(self._lost)

    def close(self) -> None:
        """Disconnect. The model must be freed before: it is of no use any more."""
        relays, self._relays = self._relays, []
        self._lost = self._lost or "the model is closed; load it again"
        for each in relays:
            each.close()


def open_workers(servers: str | None) -> Workers | None:
    """Connect to the workers in a text like "host:port,host:port"; None without a text.

    Raises:
        ConfigError: the text has another form, or this build cannot use workers.
        WorkerError: a worker is absent, does not answer, or is of another version.
    """
    return None if servers is None else Workers(servers_in(servers))


def workers_of(llama: Any) -> Workers | None:
    """The workers of a model, None if it has none. Takes any `llama_cpp.Llama`."""
    found: Workers | None = getattr(llama, "_workers", None)
    return found


def check_workers(llama: Any) -> None:
    """Check that all workers of a model are still there, if it has any.

    Raises:
        WorkerError: one is lost.
    """
    workers = workers_of(llama)
    if workers is not None:
        workers.check()


class RemoteLlama(llama_cpp.Llama):
    """`llama_cpp.Llama` whose layers may be on workers; what it computes there is checked.

    Set `_workers` before the constructor of `llama_cpp.Llama` is called, which has no argument for
    them. Every method here raises WorkerError if one is lost.
    """

    _workers: Workers | None = None

    @property
    def model_params(self) -> Any:
        """llama.cpp's parameters of the model, with the devices of its workers.

        Devices that are registered instead, for the whole process, would be used by every model.
        """
        return self._model_params

    @model_params.setter
    def model_params(self, params: Any) -> None:
        if self._workers is not None:
            params.devices = ctypes.addressof(self._workers.devices)
        self._model_params = params

    def eval(self, tokens: Sequence[int]) -> None:
        """See `llama_cpp.Llama.eval`."""
        with self._checked():
            super().eval(tokens)

    def sample(self, *args: Any, **kwargs: Any) -> int:
        """See `llama_cpp.Llama.sample`."""
        with self._checked():
            return int(super().sample(*args, **kwargs))

    def embed(self, *args: Any, **kwargs: Any) -> Any:
        """See `llama_cpp.Llama.embed`."""
        with self._checked():
            return super().embed(*args, **kwargs)

    def save_state(self) -> llama_cpp.LlamaState:
        """See `llama_cpp.Llama.save_state`."""
        with self._checked():
            return super().save_state()

    def load_state(self, state: llama_cpp.LlamaState) -> None:
        """See `llama_cpp.Llama.load_state`."""
        with self._checked():
            super().load_state(state)

    def close(self) -> None:
        """See `llama_cpp.Llama.close`."""
        workers = self._workers
        if workers is not None and workers.process != os.getpid():
            # This process was forked. To free the model would wait for good for a thread of
            # llama.cpp that exists only in the process that loaded it.
            self._lora_adapter = self._ctx.ctx = self._model.model = None
        super().close()
        if workers is not None:
            workers.close()

    @contextlib.contextmanager
    def _checked(self) -> Iterator[None]:
        check_workers(self)
        try:
            yield
        finally:
            check_workers(self)


class _Relay:
    """A running relay.

    Args:
        server: the worker behind it.
        connection: to the worker, which has been greeted. The caller closes it.

    Attributes:
        server: the worker behind it.
        endpoint: where llama.cpp finds it, "127.0.0.1:port".

    Raises:
        WorkerError: it cannot be started.
    """

    _used: set[int] = set()  # noqa: RUF012  (of the whole process)
    """Ports of earlier relays: llama.cpp remembers devices by their endpoint for good."""

    def __init__(self, server: Server, connection: socket.socket) -> None:
        self.server = server
        with contextlib.ExitStack() as stack:
            listener = self._listen(stack)
            self.endpoint = f"127.0.0.1:{listener.getsockname()[1]}"
            self._report, report = os.pipe()
            stack.callback(os.close, report)
            life, self._life = os.pipe()
            stack.callback(os.close, life)
            files = (listener.fileno(), connection.fileno(), report, life)
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", relay.__file__, *map(str, files)],
                stdin=subprocess.DEVNULL,
                pass_fds=files,
                start_new_session=True,  # Ctrl-C and a closed terminal are for the program
            )
        self._end = weakref.finalize(
            self, _end, os.getpid(), self._process, self._report, self._life
        )
        # When Python ends, a model may be freed after this; the relay then ends by itself.
        self._end.atexit = False
        if os.read(self._report, 1) != b"\0":
            self.close()
            raise WorkerError(
                f"the relay to the worker {server.text} did not start; check that {sys.executable} "
                "can be run"
            )

    def _listen(self, stack: contextlib.ExitStack) -> socket.socket:
        while True:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            port = listener.getsockname()[1]
            if port not in self._used:
                self._used.add(port)
                return listener

    def lost(self) -> str | None:
        """Why the worker is lost; None while it is not. Each reason is given once."""
        waiting = select.poll()
        waiting.register(self._report, select.POLLIN)
        if not waiting.poll(0):
            return None
        return os.read(self._report, 4096).decode() or "its relay has ended"

    def close(self) -> None:
        """End the relay, and with it the connection to the worker."""
        self._end()


def _end(owner: int, process: subprocess.Popen[bytes], report: int, life: int) -> None:
    os.close(life)
    os.close(report)
    if os.getpid() == owner:  # else this process was forked, and the relay is not its own
        process.kill()
        process.wait()
