"""llama.cpp's server as a decoder: started on loopback, stopped at the end of the run.

A prompt goes to it as tokens, and its answer comes back as a stream, timed here. A server runs
through all visits; what one of its drafters learns on the first visit is still known on the second.
Its slot keeps the KV cache of its own last answer, which the next turn of the dialog begins with.

Knows the options of one binary, and HTTP. Does not know dialogs, nor what the times are used for.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from aded_edge.errors import BenchError

from .decoders import RunSettings, TimedAnswer, Turn

SERVER = "server"
"""The server without speculation."""

SPEC_TYPES = ("ngram-simple", "ngram-map-k", "ngram-mod", "ngram-cache")
"""The server's n-gram drafters, which need no second model, by their names in `--spec-type`."""

SERVERS = (SERVER, *SPEC_TYPES)
"""All decoders that are servers."""

START_SECONDS = 300.0
"""Timeout for loading a model."""

ANSWER_SECONDS = 3600.0
"""Timeout for one answer."""

_HEALTH_SECONDS = 5.0
"""Timeout of one question whether the server is ready."""

_EVENT = b"data: "
"""What a line of a stream begins with, before its JSON."""

_SHOWN = 300
"""Characters of the server's words that an error message quotes."""


class ServerDecoder:
    """A running server with one slot.

    Args:
        name: one of SERVERS.
        settings: settings of the run; `llama_server` is the binary.
        folder: an empty folder; without one, the server has no actions on slots.
        log: file for the server's output.

    Attributes:
        build: version of the binary, as it names it.

    Raises:
        BenchError: the binary is missing, ends before it can answer, or takes too long.
    """

    def __init__(self, name: str, settings: RunSettings, folder: Path, log: Path) -> None:
        self._name, self._settings, self._log = name, settings, log
        self._port = _free_port()
        self._erases = True
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = self._start(folder)
            self._wait()
            self.build = str(self._ask("GET", "/props", None)[1].get("build_info", "unknown"))
        except BaseException:
            self.close()
            raise

    def answer(self, turn: Turn) -> TimedAnswer:
        """Answer a turn; see `Decoder`."""
        if not turn.known and self._erases:
            # A server of another version may refuse; then it knows what its last prompt shared.
            status, _ = self._ask("POST", "/slots/0?action=erase", {})
            self._erases = status == HTTPStatus.OK
        try:
            return self._stream(self._request(turn.prompt))
        except (OSError, HTTPException, ValueError, KeyError) as error:
            raise self._no_answer(error) from error

    def close(self) -> None:
        """Stop the server. There is nothing to save, so it is killed."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _start(self, folder: Path) -> subprocess.Popen[bytes]:
        settings = self._settings
        binary = str(settings.llama_server)
        threads = str(settings.threads)
        layers = settings.gpu_layers if settings.gpu_layers >= 0 else 999  # all
        options = ["--model", settings.model, "--host", "127.0.0.1", "--port", str(self._port)]
        options += ["--ctx-size", str(settings.n_ctx), "--parallel", "1"]
        options += ["--threads", threads, "--threads-batch", threads]
        options += ["--n-gpu-layers", str(layers)]
        options += ["--flash-attn", "on" if settings.flash_attn else "off"]
        options += ["--slot-save-path", str(folder) + os.sep]
        options += ["--cache-ram", "0"]  # otherwise it copies the KV cache of every prompt
        if self._name != SERVER:
            options += ["--spec-type", self._name]
        own = {key: value for key, value in os.environ.items() if not key.startswith("LLAMA_ARG_")}
        try:
            with self._log.open("wb") as log:
                return subprocess.Popen(
                    [binary, *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=own
                )
        except OSError as error:
            raise BenchError(
                f"cannot start {binary}: {error.strerror}; --llama-server takes the path of "
                "llama.cpp's llama-server"
            ) from error

    def _wait(self) -> None:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            self._check_alive("ended before it could answer")
            try:
                status, _ = self._exchange("GET", "/health", None, _HEALTH_SECONDS)
            except (OSError, HTTPException):
                status = 0
            if status == HTTPStatus.OK:
                return
            time.sleep(0.05)
        raise BenchError(
            f"{self._name}: {self._settings.llama_server} was not ready after "
            f"{START_SECONDS:.0f} s: {self._last_words()}"
        )

    def _check_alive(self, what: str) -> None:
        assert self._process is not None, "the constructor has started it"
        status = self._process.poll()
        if status is not None:
            raise BenchError(
                f"{self._name}: {self._settings.llama_server} {what} (status {status}): "
                f"{self._last_words()}"
            )

    def _last_words(self) -> str:
        text = self._log.read_text(encoding="utf-8", errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower()]
        return (errors or lines or ["it printed nothing"])[-1][:_SHOWN]

    def _request(self, prompt: list[int]) -> dict[str, Any]:
        settings = self._settings
        return {
            "prompt": prompt,
            "n_predict": settings.max_tokens,
            "temperature": settings.temperature,
            "seed": settings.seed,
            "cache_prompt": True,
            "stream": True,
            # the defaults of llama_cpp.Llama.generate
            "top_k": 40,
            "top_p": 0.95,
            "min_p": 0.05,
            "repeat_penalty": 1.0,
        }

    def _stream(self, request: dict[str, Any]) -> TimedAnswer:
        """Ask for a completion and read it event by event."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_SECONDS)
        pieces: list[str] = []
        timings: dict[str, Any] = {}
        first = 0.0
        try:
            began = time.perf_counter()
            data = json.dumps(request)
            connection.request("POST", "/completion", data, {"Content-Type": "application/json"})
            response = connection.getresponse()
            if response.status != HTTPStatus.OK:
                reason = _reason(json.loads(response.read() or b"{}"))
                raise BenchError(f"{self._name}: the server refused a prompt: {reason}")
            for line in response:
                if not line.startswith(_EVENT):
                    continue
                event = json.loads(line[len(_EVENT) :])
                if event.get("content"):
                    if not pieces:
                        first = time.perf_counter() - began
                    pieces.append(event["content"])
                if event.get("stop"):
                    timings = event["timings"]
                    break
            last = time.perf_counter() - began
        finally:
            connection.close()
        if not timings:
            raise ValueError("its stream ended before the answer did")
        tokens, accepted = int(timings["predicted_n"]), int(timings.get("draft_n_accepted", 0))
        return TimedAnswer(
            text="".join(pieces),
            tokens=tokens,
            seconds_first=first if pieces else last,
            seconds_last=last,
            # The server counts accepted tokens after an end of text, which it does not return.
            steps=max(tokens - 1 - accepted, min(tokens - 1, 1)),
            accepted=accepted,
        )

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, Any]:
        try:
            return self._exchange(method, path, body, ANSWER_SECONDS)
        except (OSError, HTTPException, ValueError) as error:
            raise self._no_answer(error) from error

    def _no_answer(self, error: Exception) -> BenchError:
        assert self._process is not None
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)  # its connection breaks a little before it has ended
        try:
            self._check_alive("ended during the run")
        except BenchError as ended:
            return ended
        return BenchError(f"{self._name}: the server did not answer: {error}")

    def _exchange(
        self, method: str, path: str, body: dict[str, Any] | None, timeout: float
    ) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=timeout)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, json.loads(response.read() or b"{}")
        finally:
            connection.close()


def _reason(reply: Any) -> str:
    try:
        return str(reply["error"]["message"])
    except (KeyError, TypeError):
        return str(reply)[:_SHOWN]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
