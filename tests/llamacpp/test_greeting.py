"""Addresses of workers, and what is found out about one before llama.cpp sees it."""

import re
import socket
import sysconfig
from pathlib import Path

import pytest

from aded_edge.errors import ConfigError, WorkerError
from aded_edge.llamacpp import greeting, relay
from tests.workers import free_port, reply, request, server

VERSION = relay.VERSION
HELLO = relay.HELLO_REPLY


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("127.0.0.1:50052", [("127.0.0.1", 50052)]),
        ("a:1, b:65535", [("a", 1), ("b", 65535)]),
        ("[::1]:7", [("::1", 7)]),
        ("[fe80::1%eth0]:7,a:7", [("fe80::1%eth0", 7), ("a", 7)]),
        ("a:1,a:2", [("a", 1), ("a", 2)]),
    ],
)
def test_addresses_are_read(text, places):
    assert [(server.host, server.port) for server in greeting.servers_in(text)] == places


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "give host:port"),
        (",", "give host:port"),
        ("a:1,", "give host:port"),
        ("host", "give host:port"),
        (":50052", "give host:port"),
        ("a b:1", "give host:port"),
        ("a\n:1", "give host:port"),
        ("::1", "in brackets"),
        ("::1:50052", "in brackets"),
        ("[::1]", "in brackets"),
        ("a:", "1 to 65535"),
        ("a:0", "1 to 65535"),
        ("a:65536", "1 to 65535"),
        ("a:-1", "1 to 65535"),
        ("a:+1", "1 to 65535"),
        ("a:1_0", "1 to 65535"),
        ("a:٣", "1 to 65535"),
        ("a:" + "9" * 5000, "1 to 65535"),
        ("a:http", "1 to 65535"),
        ("a:1,A:1", "given twice"),
        (",".join(f"a:{port}" for port in range(1, 18)), "takes 16"),
        (b"a:1", "is no text"),
        (["a:1"], "is no text"),
    ],
)
def test_other_texts_are_refused(text, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        greeting.servers_in(text)


def reaching(host, port):
    connection, memory = greeting.connect(greeting.Server(f"{host}:{port}", host, port))
    connection.close()
    return memory


def good(version=HELLO, devices=1, memory=5):
    def behave(connection):
        while True:
            command, _ = request(connection)
            if command == relay.HELLO:
                reply(connection, version)
            elif command == relay.DEVICE_COUNT:
                reply(connection, devices.to_bytes(4, "little"))
            elif command == relay.GET_DEVICE_MEMORY:
                reply(connection, memory.to_bytes(8, "little") * 2)

    return behave


def test_a_worker_is_greeted_and_asked_for_its_memory():
    with server(good(devices=3, memory=1 << 40)) as port:
        assert reaching("127.0.0.1", port) == 3 << 40


def test_a_worker_at_an_ipv6_address_is_reached():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server(good(), "::1") as port:
        assert reaching("::1", port) == 5


def test_a_name_is_resolved():
    with server(good()) as port:
        assert reaching("localhost", port) == 5


@pytest.mark.parametrize(
    "version",
    [
        bytes((VERSION[0] - 1, *VERSION[1:], 0)) + HELLO[4:],
        bytes((VERSION[0] + 1, *VERSION[1:], 0)) + HELLO[4:],
        bytes((VERSION[0], VERSION[1] + 1, VERSION[2], 0)) + HELLO[4:],
        # A patch means other operations: llama.cpp would compute with the wrong ones.
        bytes((*VERSION[:2], VERSION[2] + 1, 0)) + HELLO[4:],
        bytes((2, 0, 0)),  # as old servers answer
        bytes((3, 6, 1, 0)),
    ],
)
def test_another_version_is_refused_with_both_versions(version):
    theirs = "{}.{}.{}".format(*version[:3])
    ours = "{}.{}.{}".format(*VERSION)
    with server(good(version)) as port, pytest.raises(WorkerError) as caught:
        reaching("127.0.0.1", port)
    assert f"127.0.0.1:{port}" in str(caught.value)
    assert f"version {theirs} of llama.cpp's RPC protocol and this build {ours}" in str(
        caught.value
    )
    assert "0.3.36" in str(caught.value)


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
        bytes(4096),
        b"\xff" * 4096,
        (1 << 63).to_bytes(8, "little") * 2,
        (28).to_bytes(8, "little") + b"short",
        (2).to_bytes(8, "little") + b"\7\0",
    ],
)
def test_what_is_no_worker_is_refused(garbage):
    def behave(connection):
        connection.sendall(garbage)
        connection.shutdown(socket.SHUT_WR)

    with server(behave) as port, pytest.raises(WorkerError, match="not answer as a worker does"):
        reaching("127.0.0.1", port)


@pytest.mark.parametrize("devices", [0, 17, 1 << 31])
def test_a_strange_number_of_devices_is_refused(devices):
    with server(good(devices=devices)) as port, pytest.raises(WorkerError, match="offers"):
        reaching("127.0.0.1", port)


def test_one_that_serves_another_program_is_named_in_time(monkeypatch):
    monkeypatch.setattr(greeting, "ANSWER_SECONDS", 0.2)

    def behave(connection):
        request(connection)
        request(connection)  # never comes

    with server(behave) as port, pytest.raises(WorkerError, match="one model at a time"):
        reaching("127.0.0.1", port)


def test_an_absent_one_is_named_with_the_remedy():
    port = free_port()
    with pytest.raises(WorkerError) as caught:
        reaching("127.0.0.1", port)
    assert f"the worker 127.0.0.1:{port} cannot be used: nothing listens there" in str(caught.value)
    assert f"aded-edge worker --port {port}" in str(caught.value)


def test_the_remedy_for_another_machine_lets_it_listen_there():
    port = free_port()
    with pytest.raises(WorkerError) as caught:
        reaching("127.0.0.2", port)
    assert f"aded-edge worker --host 127.0.0.2 --port {port} --open-to-net" in str(caught.value)


@pytest.mark.parametrize("name", ["no-such-host.invalid", "a" * 300, "a..b", "x\0y"])
def test_a_name_that_does_not_resolve_is_named(name):
    with pytest.raises(WorkerError, match="cannot be"):
        reaching(name, 1)


def test_a_vanished_machine_is_noticed_in_seconds():
    with server(lambda connection: request(connection)) as port:
        connection = greeting._connected(greeting.Server("x", "127.0.0.1", port))
        with connection:
            assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                limit = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
                assert 0 < limit <= 30_000


def test_the_version_is_that_of_the_installed_llama_cpp():
    header = Path(sysconfig.get_path("platlib"), "include/ggml-rpc.h")
    if not header.is_file():
        pytest.skip("this llama-cpp-python came without its headers")
    text = header.read_text()
    numbers = re.findall(r"define RPC_PROTO_(?:MAJOR|MINOR|PATCH)_VERSION\s+(\d+)", text)
    most = re.search(r"define GGML_RPC_MAX_SERVERS\s+(\d+)", text)
    assert tuple(map(int, numbers)) == relay.VERSION
    assert int(most[1]) == greeting.MOST_SERVERS
