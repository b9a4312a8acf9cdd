"""Processes that are forked, write down what they have done, and may be killed at any moment.

The harness has imported everything and compiled the kernels before it forks, so a child is at work
within milliseconds. It has no thread and no open database when it forks.

Knows processes and journals. Does not know what a child does.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE = 120.0
"""Seconds after which a child that says nothing has hung."""

_POLL = 0.002

Entry = dict[str, Any]


class Violation(Exception):
    """What must hold does not hold; the text says what, and where."""


class Journal:
    """A file of JSON lines, written by one child and read by the harness.

    A line is given to the operating system in one call, so a kill -9 neither loses nor halves it.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def __call__(self, **entry: Any) -> None:
        """Append an entry."""
        os.write(self._file, json.dumps(entry).encode() + b"\n")


Job = Callable[[Journal], object]


@dataclass
class Child:
    """A forked process.

    Attributes:
        pid: its process id.
        journal: path of what it wrote down.
        said: path of its standard output and error.
        status: its exit status once it has ended; negative for a signal.
    """

    pid: int
    journal: Path
    said: Path
    status: int | None = field(default=None)

    def entries(self) -> list[Entry]:
        """What it wrote down up to now."""
        return entries(self.journal)

    def text(self) -> str:
        """What it printed up to now."""
        if not self.said.exists():  # killed before it could print
            return ""
        return self.said.read_text(encoding="utf-8", errors="replace")

    def running(self) -> bool:
        """Whether it has not ended yet."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is None

    def wait_for(self, count: int) -> None:
        """Wait until it has written down `count` entries, or has ended.

        Raises:
            Violation: it hangs.
        """
        for _ in self._waiting(f"its entry number {count}"):
            if len(self.entries()) >= count:
                return

    def wait(self) -> int:
        """Wait for its end; return its exit status.

        Raises:
            Violation: it hangs.
        """
        for _ in self._waiting("its end"):
            pass
        assert self.status is not None
        return self.status

    def kill(self) -> None:
        """Kill it with SIGKILL, and wait until it is gone."""
        if self.running():
            os.kill(self.pid, signal.SIGKILL)
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def check(self, *statuses: int) -> None:
        """Check that it ended with one of these statuses, and without a traceback.

        Raises:
            Violation: it did not.
        """
        text = self.text()
        if "Traceback" in text or "Fatal Python error" in text:
            raise Violation(f"a traceback in {self.said}: ...{text[-1500:]}")
        if self.status not in statuses:
            raise Violation(
                f"{self.said}: exit status {self.status} instead of one of {statuses}: "
                f"...{text[-1500:]}"
            )

    def _waiting(self, what: str) -> Iterator[None]:
        deadline = time.monotonic() + PATIENCE
        while self.running():
            yield
            if time.monotonic() > deadline:
                self.kill()
                raise Violation(f"{self.said}: hangs while {what} is waited for: {self.text()}")
            time.sleep(_POLL)
        yield  # what it did just before it ended


def entries(journal: Path) -> list[Entry]:
    """All entries of a journal; none if it does not exist."""
    if not journal.exists():
        return []
    return [json.loads(line) for line in journal.read_bytes().split(b"\n") if line]


def fork(job: Job, name: Path) -> Child:
    """Start a process that runs a job.

    Args:
        job: called with the journal; an exception of it is a traceback and status 1.
        name: its journal and its output are files with this name and an ending of their own.
    """
    child = Child(0, name.with_name(name.name + ".journal"), name.with_name(name.name + ".said"))
    sys.stdout.flush()
    sys.stderr.flush()
    child.pid = os.fork()
    if child.pid == 0:
        _run(job, child)
    return child


def _run(job: Job, child: Child) -> None:
    status = 1
    try:
        output = os.open(child.said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        job(Journal(child.journal))
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # nothing of the harness may run in the child
