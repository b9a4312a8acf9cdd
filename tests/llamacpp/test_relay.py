"""The relay between llama.cpp and a worker: what it passes on, and what it says for a lost one."""

import contextlib
import os
import socket
import subprocess
import sys

import pytest

from aded_edge.llamacpp import relay
from tests.workers import exactly, reply, request

FREE_BUFFER, SET_TENSOR, GRAPH_COMPUTE = 4, 6, 10


class Scene:
    """A running relay, with the test on both of its sides.

    Attributes:
        client: what llama.cpp has.
        worker: what the worker has.
    """

    def __init__(self, stack):
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.place = listener.getsockname()
        self.worker, theirs = (stack.enter_context(end) for end in socket.socketpair())
        self.report, report = os.pipe()
        life, self.life = os.pipe()
        files = (listener.fileno(), theirs.fileno(), report, life)
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", relay.__file__, *map(str, files)], pass_fds=files
        )
        stack.callback(self.process.kill)
        for number in (report, life):
            os.close(number)
        theirs.close()
        assert os.read(self.report, 1) == b"\0"
        self._stack = stack
        self.connect()
        for end in (self.client, self.worker):
            end.settimeout(60)

    def connect(self):
        self.client = self._stack.enter_context(socket.create_connection(self.place))
        self.client.settimeout(60)

    def ask(self, command, body=b""):
        self.client.sendall(bytes((command,)) + len(body).to_bytes(8, "little") + body)

    def answer(self):
        return exactly(self.client, int.from_bytes(exactly(self.client, 8), "little"))

    def lost(self):
        return os.read(self.report, 1000).decode()


@pytest.fixture
def scene():
    with contextlib.ExitStack() as stack:
        yield Scene(stack)


def wanting(count):
    """A request of GET_TENSOR for so many bytes."""
    return bytes(300) + count.to_bytes(8, "little")


def test_requests_and_replies_are_passed_on(scene):
    for size in (0, 1, 300, 1 << 20, (1 << 20) + 1, 5 << 20):
        body = os.urandom(size)
        scene.ask(SET_TENSOR, body)
        assert request(scene.worker) == (SET_TENSOR, body)
    for size in (1, 1000, 3 << 20):
        scene.ask(relay.GET_TENSOR, wanting(size))
        assert request(scene.worker) == (relay.GET_TENSOR, wanting(size))
        body = os.urandom(size)
        reply(scene.worker, body)
        assert scene.answer() == body


def test_llama_cpp_may_connect_again_and_is_greeted_by_the_relay(scene):
    for _ in range(3):
        scene.ask(relay.HELLO, bytes(relay.HELLO_CAPS))
        assert scene.answer() == relay.HELLO_REPLY
        scene.ask(FREE_BUFFER, b"12345678")
        assert request(scene.worker) == (FREE_BUFFER, b"12345678")
        scene.client.close()
        scene.connect()


def test_a_worker_lost_while_nothing_is_asked_is_reported(scene):
    scene.worker.close()
    assert scene.lost() == "it closed the connection"


def test_every_request_to_a_lost_worker_has_a_reply_of_the_right_length(scene):
    scene.worker.close()
    scene.lost()
    scene.ask(GRAPH_COMPUTE, bytes(5 << 20))
    for command, stand_in in relay.STAND_INS.items():
        if command != relay.GET_TENSOR:
            scene.ask(command, bytes(24))
            assert scene.answer() == stand_in
    for size in (1, 1 << 20, (3 << 20) + 1):
        scene.ask(relay.GET_TENSOR, wanting(size))
        assert scene.answer() == bytes(size)


@pytest.mark.parametrize("sent", [0, 3, 8, 9, 1 << 20])
def test_a_worker_lost_within_a_reply_is_completed(scene, sent):
    size = 2 << 20
    scene.ask(relay.GET_TENSOR, wanting(size))
    request(scene.worker)
    whole = size.to_bytes(8, "little") + b"\1" * size
    scene.worker.sendall(whole[:sent])
    scene.worker.close()
    body = scene.answer()
    assert body == whole[8 : max(sent, 8)] + bytes(size - max(sent - 8, 0))
    assert scene.lost() == "it closed the connection"


def test_a_short_reply_is_completed_from_the_stand_in(scene):
    scene.ask(relay.BUFFER_GET_BASE, bytes(8))
    request(scene.worker)
    scene.worker.sendall((8).to_bytes(8, "little"))
    scene.worker.close()
    assert scene.answer() == relay.STAND_INS[relay.BUFFER_GET_BASE]


def test_a_reply_of_another_length_means_that_the_worker_is_lost(scene):
    scene.ask(relay.GET_ALIGNMENT, bytes(4))
    request(scene.worker)
    reply(scene.worker, b"123")
    assert scene.answer() == relay.STAND_INS[relay.GET_ALIGNMENT]
    assert "wrong length" in scene.lost()


def test_what_nobody_asked_for_means_that_the_worker_is_lost(scene):
    scene.worker.sendall(b"hello")
    assert "nobody had asked" in scene.lost()


def test_it_ends_with_the_program(scene):
    os.close(scene.life)
    assert scene.process.wait(60) == 0


@pytest.mark.parametrize("begun", [b"", b"\x08", b"\x06\xff\xff\0\0\0\0\0\0some"])
def test_a_client_that_breaks_off_is_followed_by_the_next(scene, begun):
    scene.client.sendall(begun)
    scene.client.close()
    scene.connect()
    scene.ask(relay.HELLO, bytes(relay.HELLO_CAPS))
    assert scene.answer() == relay.HELLO_REPLY
