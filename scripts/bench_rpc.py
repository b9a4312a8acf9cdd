"""What drafts bring on a worker, as the way to it gets longer: prints a Markdown table.

usage: python scripts/bench_rpc.py [MODEL] [--delays 0,1,5,20] [--tokens 160]
                                   [--threads N] [--rpc HOST:PORT]

Starts a worker on this machine and delays what goes to and from it, half of the delay each way, as
a network with that round trip does (`tc netem` does the same, but not every kernel has it). With
--rpc it uses that worker instead, with the delays on top of the real way. Every answer is checked
against the plain one over the same worker.

Knows sockets, processes and `Llama`. Does not know how anything is drafted.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "models/SmolLM2-135M-Instruct.Q4_1.gguf"

QUESTIONS = (
    "Write a Python function that counts the words of a text, and explain each line of it.",
    "List the planets of the solar system with one sentence about each.",
    "Explain how a bicycle stays upright.",
    "Write a short story about a fox and a hen who share a house.",
)

_PIECE = 1 << 18
_PIECES = 256  # under way at once, so that a large model does not fill the memory


def delay_all(listener: socket.socket, host: str, port: int, seconds: float) -> None:
    """Serve connections one by one, with `seconds` between arrival and departure each way."""
    while True:
        near, _ = listener.accept()
        with near, socket.create_connection((host, port)) as far:
            ways = [
                threading.Thread(target=_delay, args=(*ends, seconds), daemon=True)
                for ends in ((near, far), (far, near))
            ]
            for way in ways:
                way.start()
            for way in ways:
                way.join()


def _delay(source: socket.socket, sink: socket.socket, seconds: float) -> None:
    under_way: queue.Queue[tuple[float, bytes]] = queue.Queue(_PIECES)
    for end in (source, sink):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def depart() -> None:
        while True:
            due, piece = under_way.get()
            time.sleep(max(due - time.perf_counter(), 0))
            with contextlib.suppress(OSError):
                if not piece:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(piece)

    departing = threading.Thread(target=depart, daemon=True)
    departing.start()
    piece = b"?"
    while piece:
        try:
            piece = source.recv(_PIECE)
        except OSError:
            piece = b""
        under_way.put((time.perf_counter() + seconds, piece))
    departing.join()


@contextlib.contextmanager
def delayed(place: str, milliseconds: float) -> Iterator[str]:
    """Give an address that leads to a worker with this round trip more."""
    if not milliseconds:
        yield place
        return
    host, _, port = place.rpartition(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = multiprocessing.get_context("spawn").Process(
            target=delay_all, args=(listener, host, int(port), milliseconds / 2000), daemon=True
        )
        process.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            process.kill()
            process.join()


@contextlib.contextmanager
def worker(threads: list[str]) -> Iterator[str]:
    """Start a worker and give its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "aded_edge", "worker", "--port", str(port), *threads],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while process.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            time.sleep(0.1)
        else:
            sys.exit("the worker did not start: run aded-edge worker, which says why")
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def rate(llama: Any, tokens: int) -> tuple[float, list[list[int]]]:
    """Answer all questions; return tokens per second after the first of each, and the answers."""
    seconds, count, answers = 0.0, 0, []
    for question in QUESTIONS:
        prompt = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        stream = llama.generate(llama.tokenize(prompt.encode(), False, True), temp=0.0)
        answer = [next(stream)]
        began = time.perf_counter()
        for token in stream:
            if token == llama.token_eos() or len(answer) > tokens:
                break
            answer.append(token)
        seconds += time.perf_counter() - began
        stream.close()
        count += len(answer) - 1
        answers.append(answer)
    return count / seconds, answers


def row(model: str, place: str, delay: float, tokens: int) -> str:
    """Measure one line of the table."""
    from aded_edge import Llama

    how: dict[str, Any] = {"n_ctx": 1024, "n_threads": 1, "verbose": False, "rpc_servers": place}
    with Llama(model, drafting="off", store=None, **how) as llama:
        plain, expected = rate(llama, tokens)
    with (
        tempfile.TemporaryDirectory() as folder,
        Llama(model, store=Path(folder) / "store.db", **how) as llama,
    ):
        first, said = rate(llama, tokens)
        second, _ = rate(llama, tokens)
    same = sum(mine == theirs for mine, theirs in zip(said, expected, strict=True))
    return (
        f"| {delay:g} ms | {plain:.1f} | {first:.1f} ({first / plain:.2f} times) "
        f"| {second:.1f} ({second / plain:.2f} times) | {same} of {len(said)} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", nargs="?", default=str(MODEL))
    parser.add_argument("--delays", default="0,1,5,20", help="round trips in ms")
    parser.add_argument("--tokens", type=int, default=160, help="of each answer, at most")
    parser.add_argument("--threads", help="of the worker; default: the physical cores")
    parser.add_argument("--rpc", help="a worker that runs already, HOST:PORT")
    options = parser.parse_args()
    threads = ["--threads", options.threads] if options.threads else []
    print("| round trip | plain, tokens/s | auto, first visit | second visit | same answers |")
    print("| --- | --- | --- | --- | --- |")
    with contextlib.nullcontext(options.rpc) if options.rpc else worker(threads) as place:
        for delay in map(float, options.delays.split(",")):
            with delayed(place, delay) as there:
                print(row(options.model, there, delay, options.tokens), flush=True)


if __name__ == "__main__":
    main()
