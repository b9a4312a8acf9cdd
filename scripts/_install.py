"""Fills .venv with what requirements.lock says: the slow half of `_setup.sh`.

usage: _install.py ROOT RECIPE

Knows pip, its output, and what a killed install may leave behind. Does not know what the package
does, and imports nothing but the standard library, because nothing else is there yet.

The stamp in .venv holds the recipe (root, CMAKE_ARGS, checksum of the files) and the version of
Python that a finished install was made from. While an install runs its first line is UNFINISHED:
a .venv found like that is not trusted, since pip takes a half-copied package for an installed one,
and made anew. llama.cpp is then compiled again only if it was not finished: pip keeps its wheel.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

UNFINISHED = "unfinished"
HEARTBEAT = 30.0
"""Seconds between two signs of life where no line can be rewritten."""
CORE_MINUTES = 10
"""What compiling llama.cpp takes, roughly."""


class InstallError(Exception):
    """A step failed; the message says which, and why."""


class Progress:
    """What pip is doing, read from its output: one line that changes, or a line now and then."""

    def __init__(self, what: str) -> None:
        self._terminal = sys.stderr.isatty()
        self._started = self._spoke = time.monotonic()
        self._what = what
        self._count = ""
        if not self._terminal:
            say(f"{what} …")

    def read(self, line: str) -> None:
        """Takes one line of pip's, CMake's or ninja's output."""
        if found := re.match(r"\s*Downloading (?:\S*/)?([^\s/]+)(?: \((.+)\))?", line):
            self._stage(" ".join(["downloading", *filter(None, found.groups())]))
        elif re.match(r"\s*Building wheel for llama.cpp.python \(", line) and "finished" not in line:
            minutes = max(1, round(CORE_MINUTES / (os.cpu_count() or 1)))
            self._announce(f"compiling llama.cpp: about {minutes} min on {os.cpu_count()} cores")
        elif re.match(r"\s*Installing collected packages", line):
            self._stage("installing")
        elif found := re.match(r"\s*\[\s*(\d+/\d+|\d+%)\]", line):
            self._count = f" [{found.group(1)}]"

    def tick(self) -> None:
        """Shows where things stand; called about once a second."""
        now = time.monotonic()
        took = int(now - self._started)
        line = f"aded-edge: {self._what}{self._count} {took // 60}:{took % 60:02}"
        if self._terminal:
            width = shutil.get_terminal_size().columns
            print(f"\r\x1b[K{line[: width - 1]}", end="", file=sys.stderr, flush=True)
        elif now - self._spoke >= HEARTBEAT:
            self._spoke = now
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leaves no half-written line on the terminal."""
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _stage(self, what: str) -> None:
        self._what, self._count = what, ""

    def _announce(self, what: str) -> None:
        self._stage(what)
        self.close()
        say(what)


class Runner:
    """Runs the steps of an install, with their output in a log."""

    def __init__(self, log: Path, lock: int) -> None:
        self._log = log
        self._lock = lock
        self._parent = os.getppid()

    def run(self, what: str, command: Sequence[str | Path]) -> None:
        """Runs one command to its end, and nothing of it outlives us.

        Raises:
            InstallError: it failed.
        """
        # In a session of its own, so that a compiler's whole family can be stopped. It holds the
        # lock too: should we be killed outright, nobody else starts before pip is gone.
        with self._log.open("ab") as log, subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[self._lock],
        ) as child:
            try:
                last_error = self._follow(child, Progress(what), log.fileno())
            except BaseException:
                os.killpg(child.pid, signal.SIGKILL)
                raise
        if child.returncode != 0:
            raise InstallError(f"{what} failed: {last_error}; see {self._log}")

    def _follow(self, child: subprocess.Popen[bytes], progress: Progress, log: int) -> str:
        """Shows and keeps the child's output; returns the last line that tells of an error."""
        assert child.stdout is not None
        pipe, rest, last_error = child.stdout.fileno(), b"", f"{child.args!r} says nothing"
        with selectors.DefaultSelector() as ready, contextlib.closing(progress):
            ready.register(pipe, selectors.EVENT_READ)
            while True:
                if ready.select(timeout=1.0):
                    chunk = os.read(pipe, 1 << 16)
                    if not chunk:
                        return last_error
                    os.write(log, chunk)
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in (raw.decode(errors="replace") for raw in lines):
                        progress.read(line)
                        if line.startswith("ERROR: ") or "No module named" in line:
                            last_error = line.removeprefix("ERROR: ").strip()
                progress.tick()
                if os.getppid() != self._parent:
                    raise KeyboardInterrupt  # the script was killed, and nobody waits for us
