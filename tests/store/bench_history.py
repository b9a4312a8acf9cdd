"""Times a store of 10,000 conversations: python -m tests.store.bench_history [CONVERSATIONS].

Prints what a search, a list and an opening take, as medians, and how large the file is. The words
follow a Zipf distribution, like the words of a language.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from aded_edge.store import Conversation, Message, Store, terms

TURNS = 5
WORDS = 60
VOCABULARY = 20_000


def main() -> None:
    """Fill a store and time it."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        fill(path, count)
        megabytes = path.stat().st_size / 1e6
        print(f"{count} conversations, {2 * count * TURNS} messages, {megabytes:.0f} MB")
        print(f"open: {timed(lambda: Store.open(path).close()):.1f} ms")
        with Store.open(path) as store:
            said = store.conversations
            print(f"list of 20: {timed(lambda: said.recent(20)):.1f} ms")
            for words in ("w9999q", "w500q", "w20q w50q", "w5q", "w1q"):
                found = len(said.search(words))
                print(f"search {words!r}: {timed(lambda: said.search(words)):.1f} ms ({found})")  # noqa: B023
            query = terms("w30q w300q w3000q w7000q w12000q")
            print(f"recall of 5 words: {timed(lambda: said.match(query, 12)):.1f} ms")
            long = terms(" ".join(f"w{rank}q" for rank in range(5000)))
            print(f"recall of 5000 words: {timed(lambda: said.match(long, 12)):.1f} ms")
        command = [sys.executable, "-m", "aded_edge", "history", "list", "--store", str(path)]
        took = timed(lambda: subprocess.run(command, check=True, capture_output=True), 5)
        print(f"`history list`, the whole process: {took / 1000:.2f} s")


def fill(path: Path, count: int) -> None:
    """Write all conversations in one transaction."""
    rng = np.random.default_rng(0)
    with Store.open(path) as store, store._file.writing() as conn:
        from aded_edge.store.messages import insert_conversation, insert_messages

        for number in range(count):
            one = Conversation(0, f"{number:032x}", f"title {number}", "a model")
            at = insert_conversation(conn, one)
            ranks = np.minimum(rng.zipf(1.2, (2 * TURNS, WORDS)), VOCABULARY - 1)
            texts = (" ".join(f"w{rank}q" for rank in row) for row in ranks)
            roles = ("user", "assistant") * TURNS
            insert_messages(conn, at, map(Message, roles, texts))


def timed(work: Callable[[], object], times: int = 15) -> float:
    """Median milliseconds."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        took.append(1000 * (time.perf_counter() - began))
    return statistics.median(took)


if __name__ == "__main__":
    main()
