"""`aded-edge worker`, and `--rpc` of the commands."""

import contextlib
import os
import signal
import socket
import subprocess
import sys

import pytest

from aded_edge.llamacpp import relay
from tests.workers import Cut, free_port, needs_rpc, server, worker

HERE = "127.0.0.1"


def run(*arguments, **env):
    return subprocess.run(
        [sys.executable, "-m", "aded_edge", *map(str, arguments)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
        env={**os.environ, **env},
    )


def refusal(*arguments):
    """The one line that a refused command says."""
    done = run(*arguments)
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1"])
def test_other_machines_are_let_in_only_when_that_is_said(host):
    line = refusal("worker", "--host", host, "--port", free_port())
    assert host in line
    assert "--open-to-network" in line
    assert "ssh -L" in line


@pytest.mark.parametrize("host", ["::1", "no-such-host.invalid", "", "a..b"])
def test_a_host_without_an_ipv4_address_is_refused(host):
    assert "no IPv4 address" in refusal("worker", "--host", host)


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http"])
def test_a_port_out_of_range_is_refused(port):
    assert run("worker", "--port", port).returncode == 2


@needs_rpc
def test_a_port_that_is_taken_is_named():
    with socket.create_server((HERE, 0)) as taken:
        port = taken.getsockname()[1]
        assert f"{HERE}:{port}" in refusal("worker", "--port", port)


@needs_rpc
def test_an_address_of_another_machine_is_refused():
    done = run("worker", "--host", "192.0.2.1", "--open-to-network", "--port", free_port())
    assert done.returncode == 1
    assert "192.0.2.1" in done.stderr.splitlines()[-1]


@needs_rpc
def test_it_says_that_nothing_protects_it():
    with worker() as running:
        (line,) = running.said
    assert f"worker on {HERE}:{running.port}" in line
    assert "no authentication, no encryption" in line


@needs_rpc
def test_it_warns_where_it_is_open():
    with worker("--host", "0.0.0.0", "--open-to-network") as running:
        assert running.said[0].startswith("warning: every machine that reaches 0.0.0.0")


@needs_rpc
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(number):
    with worker() as running:
        running.send_signal(number)
        assert running.wait(60) == -number


@needs_rpc
def test_garbage_does_not_end_it():
    with worker() as running:
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", bytes(100), bytes((relay.HELLO,)) + bytes(8)):
            with socket.create_connection((HERE, running.port)) as connection:
                connection.sendall(garbage)
                with contextlib.suppress(ConnectionError):  # it hung up at the first byte
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(1000):
                        pass
        assert running.poll() is None


def chat(tiny_path, address, *more):
    options = ("--ctx", 512, "--threads", 1, "--store", "none", "--max-tokens", 20, "--seed", 1)
    return run("chat", tiny_path, "--prompt", "hello", "--rpc", address, *options, *more)


@needs_rpc
def test_the_chat_answers_with_a_worker(tiny_path):
    with worker() as running:
        done = chat(tiny_path, running.address)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@needs_rpc
def test_the_chat_says_in_one_line_that_the_worker_is_absent(tiny_path):
    port = free_port()
    done = chat(tiny_path, f"{HERE}:{port}")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"the worker {HERE}:{port} cannot be used" in line


@needs_rpc
def test_the_chat_says_in_one_line_that_the_worker_was_lost(tiny_path):
    with worker() as running:
        cut = Cut(running.port)
        with server(cut) as port:
            assert chat(tiny_path, f"{HERE}:{port}").returncode == 0
            cut.at, cut.passed = cut.passed // 2, 0
            done = chat(tiny_path, f"{HERE}:{port}")
    assert done.returncode == 1, done.stderr
    assert f"the worker {HERE}:{port} is lost" in done.stderr.splitlines()[-1]
    assert "ggml" not in done.stderr


def test_addresses_of_workers_are_checked(tiny_path):
    assert "1 to 65535" in chat(tiny_path, f"{HERE}:70000").stderr
