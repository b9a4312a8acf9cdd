"""A process that works on a store, for tests that need several processes.

`python -m <package>.worker <what> <path> <numbers...>`; prints a line after each completed step.
"""

from __future__ import annotations

import sqlite3
import sys
import threading
import time
from pathlib import Path

from aded_edge.store import Conversation, Message, Store
from tests.store.samples import joined, ledger, numbers

PADDING = 4000


def append(path: Path, start: int, count: int) -> None:
    """Add `count` parts, numbered from `start`."""
    with Store.open(path) as store:
        model = store.model("fingerprint", "a model")
        for number in range(start, start + count):
            model.add(ledger(number, PADDING))
            print(number, flush=True)


def churn(path: Path, start: int) -> None:
    """Add parts without end, and replace all by their sum after every fourth."""
    with Store.open(path) as store:
        model = store.model("fingerprint", "a model")
        for number in range(start, sys.maxsize):
            model.add(ledger(number, PADDING))
            print(number, flush=True)
            if number % 4 == 3:
                parts, ids = model.load()
                # The sum has short arrays, or every step would be slower than the one before.
                model.replace(ids, joined([ledger(n) for n in numbers(parts)]))


def compact(path: Path, count: int) -> None:
    """Replace all parts by their sum until that has succeeded `count` times."""
    with Store.open(path) as store:
        model = store.model("fingerprint", "a model")
        while count:
            parts, ids = model.load()
            if len(ids) > 1 and model.replace(ids, joined(parts)):
                count -= 1
                print(len(ids), flush=True)


def talk(path: Path, number: int) -> None:
    """Say something in a conversation of its own until standard input ends, then once more."""
    with Store.open(path) as store:
        copy = store.begin(Conversation(0, f"{number:032x}", "", "m"))
        said: list[Message] = []
        ends = threading.Event()
        threading.Thread(target=lambda: (sys.stdin.read(), ends.set()), daemon=True).start()
        while True:
            last = ends.is_set()
            said += [Message("user", f"q{len(said)}"), Message("assistant", "a")]
            written = copy.write(copy.conversation, said)
            print(written.elsewhere.name, flush=True)
            if last:
                return
            time.sleep(0.002)


def hold(path: Path, statement: str) -> None:
    """Execute a statement and hold its lock until standard input ends."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(statement)
    print("held", flush=True)
    sys.stdin.read()
    connection.close()


if __name__ == "__main__":
    what, path, *rest = sys.argv[1:]
    if what == "append":
        append(Path(path), int(rest[0]), int(rest[1]))
    elif what == "churn":
        churn(Path(path), int(rest[0]))
    elif what == "talk":
        talk(Path(path), int(rest[0]))
    elif what == "compact":
        compact(Path(path), int(rest[0]))
    else:
        hold(Path(path), rest[0])
