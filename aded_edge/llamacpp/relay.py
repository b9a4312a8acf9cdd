"""A process between llama.cpp and one worker, so that a lost worker does not end the program.

llama.cpp's RPC client aborts its process as soon as a worker closes the connection, and waits for
good if the worker's machine vanishes. So it is connected to this relay, which passes on every
message. When the worker is lost, the relay reports it and answers in its place: with zeros, or with
what makes llama.cpp give up what it is doing. What llama.cpp returns from then on means nothing;
`rpc.Workers.check` tells its callers so.

Knows the framing of llama.cpp's RPC protocol and the length of each reply. Does not know tensors,
models or addresses. Imports only the standard library, because it is run as a script that must
start quickly:

    relay.py LISTENER WORKER REPORT LIFE

The numbers are open file descriptors: a listening socket for llama.cpp; the connection to the
worker, which has answered HELLO already; a pipe that takes one byte when the relay is ready and
then the reason why the worker is lost; and a pipe that ends when the program ends.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys

VERSION = (7, 0, 0)
"""Version of the protocol: RPC_PROTO_*_VERSION in ggml-rpc.h of llama-cpp-python 0.3.36."""

ALLOC_BUFFER, GET_ALIGNMENT, GET_MAX_SIZE, BUFFER_GET_BASE = 0, 1, 2, 3
SET_TENSOR_HASH, GET_TENSOR, COPY_TENSOR = 7, 8, 9
GET_DEVICE_MEMORY, GET_ALLOC_SIZE, HELLO, DEVICE_COUNT = 11, 13, 14, 15
"""Commands of the protocol (`rpc_cmd` in ggml-rpc.cpp) that have a reply."""

HELLO_CAPS = 24
"""Bytes of HELLO in which both sides say what faster transports they have; zeros for none."""

HELLO_REPLY = bytes((*VERSION, 0)) + bytes(HELLO_CAPS)

_U64 = struct.Struct("<Q")

STAND_INS = {
    ALLOC_BUFFER: bytes(16),  # refused: llama.cpp stops loading the model or opening the context
    GET_ALIGNMENT: _U64.pack(128),
    GET_MAX_SIZE: _U64.pack(1 << 62),
    BUFFER_GET_BASE: _U64.pack(1 << 20),  # never null, which llama.cpp does not accept
    SET_TENSOR_HASH: b"\1",  # "the worker has these data": llama.cpp does not send them
    GET_TENSOR: b"",  # as many zeros as were asked for
    COPY_TENSOR: b"\1",
    GET_DEVICE_MEMORY: _U64.pack(1) * 2,
    GET_ALLOC_SIZE: _U64.pack(0),  # llama.cpp takes at least the tensor's own size
    DEVICE_COUNT: struct.pack("<I", 1),
}
"""Command with a reply -> the reply in the place of a lost worker. All but that of GET_TENSOR have
the length of the worker's own reply."""

_PIECE = 1 << 20
"""The most bytes that are read at once."""


class _ClientGone(Exception):
    """llama.cpp closed its connection."""


class Relay:
    """Passes messages on.

    Args:
        listener: accepts connections of llama.cpp, which opens several while it loads a model, but
            one at a time.
        worker: the connection to the worker. It stays the same for all of them, so that no other
            program can take the worker in between.
        report, life: file descriptors of the pipes.
    """

    def __init__(
        self, listener: socket.socket, worker: socket.socket, report: int, life: int
    ) -> None:
        self._listener = listener
        self._worker: socket.socket | None = worker
        self._report = report
        self._life = life
        self._piece = memoryview(bytearray(_PIECE))

    def run(self) -> None:
        """Serve llama.cpp until the program ends."""
        os.write(self._report, b"\0")
        while self._wait_for(self._listener):
            client, _ = self._listener.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with client:
                try:
                    while self._wait_for(client):
                        self._pass_on(client)
                except (_ClientGone, OSError):
                    continue
            return

    def _wait_for(self, source: socket.socket) -> bool:
        """Wait until the source can be read; False if the program ended.

        No reply is due meanwhile, so whatever comes from the worker means that it is lost.
        """
        while True:
            waiting = select.poll()
            waiting.register(source, select.POLLIN)
            waiting.register(self._life, select.POLLIN)
            if self._worker is not None:
                waiting.register(self._worker, select.POLLIN)
            ready = {number for number, _ in waiting.poll()}
            if self._life in ready:
                return False
            if self._worker is not None and self._worker.fileno() in ready:
                self._take(1)
                self._lose("it sent what nobody had asked for")
            if source.fileno() in ready:
                return True

    def _pass_on(self, client: socket.socket) -> None:
        """Pass on one request, and its reply if it has one."""
        head = _exactly(client, 9)
        command, size = head[0], _U64.unpack_from(head, 1)[0]
        body = _exactly(client, min(size, _PIECE))
        if command == HELLO:
            client.sendall(_U64.pack(len(HELLO_REPLY)) + HELLO_REPLY)
            return
        self._give(head + body)
        left = size - len(body)
        while left:
            count = client.recv_into(self._piece, min(left, _PIECE))
            if count == 0:
                self._lose("llama.cpp broke off within a message")
                raise _ClientGone
            self._give(self._piece[:count])
            left -= count
        if command in STAND_INS:
            # The last number in a request of GET_TENSOR is the number of bytes that it asks for.
            wanted = _U64.unpack(body[-8:])[0] if command == GET_TENSOR else None
            self._reply(client, STAND_INS[command], wanted)

    def _reply(self, client: socket.socket, stand_in: bytes, wanted: int | None) -> None:
        left = len(stand_in) if wanted is None else wanted
        size = _U64.pack(left)
        if self._take_exactly(8) != size:
            self._lose("its reply had a wrong length")
        client.sendall(size)
        while left and (piece := self._take(min(left, _PIECE))):
            client.sendall(piece)
            left -= len(piece)
        if left and stand_in:
            client.sendall(stand_in[-left:])
            return
        while left:
            count = min(left, _PIECE)
            client.sendall(bytes(count))
            left -= count

    def _give(self, data: bytes | memoryview) -> None:
        """Send to the worker, if it is still there."""
        if self._worker is not None:
            try:
                self._worker.sendall(data)
            except OSError as error:
                self._lose(error.strerror or str(error))

    def _take(self, most: int) -> memoryview:
        """Up to `most` bytes from the worker; none if it is lost. A view, valid until the next."""
        count = 0
        if self._worker is not None:
            try:
                count = self._worker.recv_into(self._piece, most)
            except OSError as error:
                self._lose(error.strerror or str(error))
            else:
                if count == 0:
                    self._lose("it closed the connection")
        return self._piece[:count]

    def _take_exactly(self, count: int) -> bytes:
        taken = b""
        while len(taken) < count and (piece := self._take(count - len(taken))):
            taken += piece
        return taken

    def _lose(self, reason: str) -> None:
        """Report the worker as lost; only the first reason counts."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None
            os.write(self._report, reason.encode())


def _exactly(client: socket.socket, count: int) -> bytes:
    pieces, left = [], count
    while left:
        piece = client.recv(left)
        if not piece:
            raise _ClientGone
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def main(listener: int, worker: int, report: int, life: int) -> None:
    """Run a relay on open file descriptors."""
    Relay(socket.socket(fileno=listener), socket.socket(fileno=worker), report, life).run()


if __name__ == "__main__":
    main(*(int(number) for number in sys.argv[1:5]))
