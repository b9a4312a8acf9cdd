"""The other side of `rpc`: lets programs on other machines use this machine's devices.

Knows llama.cpp's RPC server. It has no authentication and no encryption, serves one program at a
time, and runs until the process ends. Does not know who connects.
"""

from __future__ import annotations

import ctypes
import os
import socket
import threading
import time

import psutil

from aded_edge.errors import ConfigError

from . import relay
from .devices import cpu, gpus, rpc_function
from .greeting import keep_alive
from .rpc import WITHOUT_RPC

PROTOCOL = ".".join(map(str, relay.VERSION))
"""Version of llama.cpp's RPC protocol that both sides must speak."""


_LOOK_SECONDS = 2.0
"""Time between two looks for a new connection."""


def check_place(address: str, port: int) -> None:
    """Check that a worker can be started here.

    Args:
        address: an IPv4 address of this machine.
        port: 1 to 65535.

    Raises:
        ConfigError: this build has no RPC backend, or the address or port cannot be used.
    """
    if rpc_function("ggml_backend_rpc_start_server", None) is None:
        raise ConfigError(WITHOUT_RPC)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as place:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as llama.cpp does
        try:
            place.bind((address, port))
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {address}:{port} ({error.strerror}); give another --port, or an "
                "address of this machine as --host"
            ) from error


def serve(address: str, port: int, threads: int) -> None:
    """Serve one program after the other; returns only if it cannot listen.

    The calling thread stays in C code, where Python handles no signal.

    Args:
        address: an IPv4 address of this machine.
        port: 1 to 65535.
        threads: number of threads of the CPU. With a GPU, only its layers are offered.

    Raises:
        ConfigError: it could not listen.
    """
    check_place(address, port)
    start = rpc_function(
        "ggml_backend_rpc_start_server",
        None,
        ctypes.c_char_p,  # where
        ctypes.c_char_p,  # folder of a cache on disk
        ctypes.c_size_t,
        ctypes.c_size_t,
        ctypes.POINTER(ctypes.c_void_p),
    )
    devices = gpus() or [cpu()]
    array = (ctypes.c_void_p * len(devices))(*devices)
    threading.Thread(target=_keep_alive, args=(port,), daemon=True).start()
    start(f"{address}:{port}".encode(), None, threads, len(devices), array)
    raise ConfigError(f"llama.cpp could not listen on {address}:{port}; give another --port")


def _keep_alive(port: int) -> None:
    """Let connections end whose program's machine vanished: llama.cpp would wait for it for good,
    and serve no other."""
    me = psutil.Process()
    while True:
        for connection in me.net_connections("tcp4"):
            if connection.status == psutil.CONN_ESTABLISHED and connection.laddr.port == port:
                try:
                    with socket.socket(fileno=os.dup(connection.fd)) as copy:
                        keep_alive(copy)
                except OSError:  # it has ended meanwhile
                    continue
        time.sleep(_LOOK_SECONDS)
