"""The baseline as a decoder: llama_cpp.Llama in a process and an interpreter of its own.

The process runs the script `baseline.py`. It is stopped by `close`, and ends by itself when this
process is gone, because its stdin ends.

Knows processes, and the messages of the script. Does not know dialogs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from aded_edge.bench.dialogs import Message
from aded_edge.errors import BenchError
from aded_edge.llamacpp import offloading

from . import baseline
from .decoders import PLAIN, RunSettings, TimedAnswer, Turn, answer_options, llama_options

_SHOWN = 300
"""Characters of the process' last words that an error message quotes."""


class PlainDecoder:
    """llama_cpp.Llama in another process.

    Args:
        settings: settings of the run; `baseline` is the interpreter, None the one of this process.
        log: file for what the process prints.

    Attributes:
        about: the interpreter, the version of llama-cpp-python, llama.cpp's system info, Python's
            version, a description of the model and the devices that evaluate it.
        history: the tokens whose KV cache the process holds after its last answer.

    Raises:
        BenchError: the interpreter is missing, lacks llama_cpp, or cannot load the model.
    """

    def __init__(self, settings: RunSettings, log: Path) -> None:
        self._python = settings.baseline or sys.executable
        self._log = log
        self._process = self._start()
        self.history: list[int] = []
        try:
            started = {
                "llama": llama_options(settings),
                "answer": answer_options(settings),
                "devices": offloading.__file__,
            }
            self.about = {"interpreter": self._python, **self._ask(started)}
        except BaseException:
            self.close()
            raise

    def prompt(self, messages: list[Message]) -> list[int]:
        """Return the tokens of a conversation's prompt.

        Raises:
            BenchError: the process died.
            ValueError: the chat template refuses the messages.
        """
        reply = self._ask({"do": "prompt", "messages": messages})
        if "refused" in reply:
            raise ValueError(reply["refused"])
        return [int(token) for token in reply["prompt"]]

    def answer(self, turn: Turn) -> TimedAnswer:
        """Answer a turn; see `Decoder`."""
        asked = {"do": "answer", "messages": turn.messages, "fresh": not turn.known}
        reply = self._ask(asked)
        if "refused" in reply:
            raise BenchError(f"{PLAIN} refused a prompt: {reply['refused']}")
        self.history = reply.pop("history")
        return TimedAnswer(**reply, steps=max(reply["tokens"] - 1, 0), accepted=0)

    def close(self) -> None:
        """Stop the process. There is nothing to save, so it is killed."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # a request that was not written yet
                    pipe.close()

    def _start(self) -> subprocess.Popen[str]:
        command = [self._python, baseline.__file__]
        try:
            with self._log.open("wb") as log:
                return subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    encoding="utf-8",
                    errors="replace",
                )
        except OSError as error:
            raise BenchError(
                f"cannot start {self._python}: {error.strerror}; --baseline takes the path of a "
                "Python interpreter, e.g. that of a virtual environment"
            ) from error

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            raise self._died()
        try:
            reply = json.loads(line)
        except ValueError:
            reply = None
        if not isinstance(reply, dict):
            raise BenchError(
                f"{self._python} is no baseline: it said {line[:_SHOWN].strip()!r}; --baseline "
                "takes the path of a Python interpreter"
            )
        return reply

    def _died(self) -> BenchError:
        status = self._process.wait()
        said = self._log.read_text(encoding="utf-8", errors="replace").strip()
        last = said.splitlines()[-1].strip()[:_SHOWN] if said else "it printed nothing"
        remedy = "run it by hand to see why"
        if "No module named" in last:
            remedy = (
                f"install llama-cpp-python there ({self._python} -m pip install llama-cpp-python), "
                "or give --baseline another interpreter"
            )
        return BenchError(
            f"the baseline's process {self._python} ended (status {status}): {last}; {remedy}"
        )
