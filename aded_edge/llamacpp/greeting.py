"""Addresses of workers, and the first words with one of them.

Whatever is wrong with a worker is found here, in llama.cpp's own protocol and with a time limit,
because llama.cpp itself ends the process, or waits for good.

Knows the protocol's greeting. Does not know devices, and leaves an open connection to `rpc`.
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple, NoReturn

from aded_edge.errors import ConfigError, WorkerError

from . import relay

MOST_SERVERS = 16
"""GGML_RPC_MAX_SERVERS of ggml-rpc.h, which is also the most devices of a model."""

ANSWER_SECONDS = 5.0
"""Time that a worker has for accepting a connection, and for each of its first replies."""

_LAST_PORT = 65535

_KEEPALIVE = 5
"""Seconds of silence before the system asks whether the other machine is still there, and
between two such questions."""

_QUESTIONS = 3
"""Questions without an answer after which the connection is closed."""

_U64 = struct.Struct("<Q")


class Server(NamedTuple):
    """The address of a worker.

    Attributes:
        text: as the user gave it.
        host: a name, or an IPv4 or IPv6 address.
        port: 1 to 65535.
    """

    text: str
    host: str
    port: int


def servers_in(text: str) -> list[Server]:
    """Addresses in a text like "192.168.1.7:50052,[fe80::1]:50052".

    Raises:
        ConfigError: it has another form, names a server twice, or too many.
    """
    if not isinstance(text, str):
        raise ConfigError(f"rpc_servers={text!r} is no text; give 'host:port,host:port'")
    servers = [_server(part.strip()) for part in text.split(",")]
    places = [(server.host.lower(), server.port) for server in servers]
    for server, place in zip(servers, places, strict=True):
        if places.count(place) > 1:
            raise ConfigError(f"the worker {server.text} is given twice; give each of them once")
    if len(servers) > MOST_SERVERS:
        raise ConfigError(
            f"{len(servers)} workers are given and llama.cpp takes {MOST_SERVERS}; give fewer"
        )
    return servers


def _server(text: str) -> Server:
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    elif ":" in host:
        raise ConfigError(
            f"{text!r} is no address of a worker; write an IPv6 address in brackets: [::1]:50052"
        )
    if not colon or not host or any(sign.isspace() or sign < " " for sign in host):
        raise ConfigError(f"{text!r} is no address of a worker; give host:port")
    # int() would take "+1", " 1", "1_0" and digits of other scripts.
    digits = port.isascii() and port.isdigit() and len(port) <= len(str(_LAST_PORT))
    if not digits or not 1 <= int(port) <= _LAST_PORT:
        raise ConfigError(f"{text!r}: {port!r} is no port; give a number from 1 to {_LAST_PORT}")
    return Server(text, host, int(port))


def connect(server: Server) -> tuple[socket.socket, int]:
    """Connect to a worker and exchange versions with it.

    Returns:
        The connection, and the bytes of memory of the worker's devices.

    Raises:
        WorkerError: it is absent, does not answer, is no worker, or is of another version.
    """
    connection = _connected(server)
    try:
        return connection, _greet(server, connection)
    except BaseException:
        connection.close()
        raise


def _connected(server: Server) -> socket.socket:
    try:
        connection = socket.create_connection((server.host, server.port), ANSWER_SECONDS)
    except socket.gaierror as error:
        _refuse(
            server,
            f"its name cannot be resolved ({error.strerror})",
            "check the spelling, or give its address",
            error,
        )
    except TimeoutError as error:
        _refuse(
            server,
            f"nothing answered within {ANSWER_SECONDS:g} seconds",
            "check that the machine is on and that no firewall is in between",
            error,
        )
    except ConnectionRefusedError as error:
        _refuse(
            server,
            "nothing listens there",
            f"start it there by `aded-edge worker {_place(server)}`",
            error,
        )
    except (OSError, ValueError) as error:  # ValueError: a name that no resolver would take
        reason = getattr(error, "strerror", None) or str(error)
        _refuse(server, f"it cannot be reached ({reason})", "check the address", error)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    keep_alive(connection)
    return connection


def _place(server: Server) -> str:
    if server.host in ("localhost", "127.0.0.1"):
        return f"--port {server.port}"
    return f"--host {server.host} --port {server.port} --open-to-network"


def keep_alive(connection: socket.socket) -> None:
    """Let the system close a connection when the machine at its other end vanishes.

    Otherwise it would wait for hours, and llama.cpp for good.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    gone = _KEEPALIVE * (_QUESTIONS + 1)
    for name, value in (
        ("TCP_KEEPIDLE", _KEEPALIVE),
        ("TCP_KEEPALIVE", _KEEPALIVE),  # its name on macOS
        ("TCP_KEEPINTVL", _KEEPALIVE),
        ("TCP_KEEPCNT", _QUESTIONS),
        ("TCP_USER_TIMEOUT", gone * 1000),  # for data that were sent and not confirmed
    ):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _greet(server: Server, connection: socket.socket) -> int:
    """Exchange versions with a worker; return the bytes of its devices' memory.

    Raises:
        WorkerError: it is no worker, does not answer, or is of another version.
    """
    try:
        greeting = _ask(connection, relay.HELLO, bytes(relay.HELLO_CAPS), most=256)
        version, whole = tuple(greeting[: len(relay.VERSION)]), len(relay.HELLO_REPLY)
        if not len(relay.VERSION) <= len(greeting) <= whole:
            raise EOFError
        if version != relay.VERSION or len(greeting) < whole:
            _refuse_version(server, ".".join(map(str, version)))
        count = int.from_bytes(_ask(connection, relay.DEVICE_COUNT, b"", most=4), "little")
        if not 1 <= count <= MOST_SERVERS:
            _refuse(server, f"it offers {count} devices", "start it with one device at least")
        memory = 0
        for device in range(count):
            number = struct.pack("<I", device)
            memory += _U64.unpack(_ask(connection, relay.GET_DEVICE_MEMORY, number, most=16)[:8])[0]
    except TimeoutError as error:
        _refuse(
            server,
            f"it takes connections and did not answer within {ANSWER_SECONDS:g} seconds",
            "a worker serves one model at a time: end the other program, or start another worker",
            error,
        )
    except (OSError, EOFError, struct.error) as error:
        _refuse(
            server,
            "what listens there does not answer as a worker does",
            "check the port, and run llama-cpp-python 0.3.36 on both machines",
            error,
        )
    connection.settimeout(None)
    return memory


def _ask(connection: socket.socket, command: int, request: bytes, most: int) -> bytes:
    """Send a request and return the reply.

    Raises:
        OSError: the connection broke, or nothing came in time.
        EOFError: it was closed, or the reply is longer than `most`.
    """
    connection.sendall(bytes((command,)) + _U64.pack(len(request)) + request)
    (size,) = _U64.unpack(_exactly(connection, 8))
    if size > most:
        raise EOFError
    return _exactly(connection, size)


def _exactly(connection: socket.socket, count: int) -> bytes:
    taken = b""
    while len(taken) < count:
        piece = connection.recv(count - len(taken))
        if not piece:
            raise EOFError
        taken += piece
    return taken


def _refuse_version(server: Server, theirs: str) -> NoReturn:
    ours = ".".join(map(str, relay.VERSION))
    _refuse(
        server,
        f"it speaks version {theirs} of llama.cpp's RPC protocol and this build {ours}",
        "run llama-cpp-python 0.3.36 on both machines",
    )


def _refuse(server: Server, why: str, remedy: str, cause: BaseException | None = None) -> NoReturn:
    raise WorkerError(f"the worker {server.text} cannot be used: {why}; {remedy}") from cause
