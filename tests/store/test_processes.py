"""Several processes on one file, and processes that are killed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aded_edge.errors import StoreError
from aded_edge.store import Store
from tests.store import worker
from tests.store.samples import assert_same, joined, ledger, numbers
from tests.store.test_database import assert_refused, filled

# A new process can import the worker from here under the name that pytest imported it as.
ROOT = Path(str(worker.__file__)).parents[worker.__name__.count(".")]


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start a worker."""
    return subprocess.Popen(
        [sys.executable, "-m", worker.__name__, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )


def finish(process: subprocess.Popen[str]) -> list[str]:
    """Wait for a worker and return its lines."""
    lines = process.communicate(timeout=120)[0].split()
    assert process.returncode == 0
    return lines


@contextmanager
def held(path: Path, statement: str) -> Iterator[None]:
    """Let another process execute a statement and hold the lock that it takes."""
    process = start("hold", path, statement)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield
    finally:
        finish(process)


def load(path: Path) -> list[int]:
    with Store.open(path) as store:
        loaded, _ = store.model("fingerprint", "a model").load()
        assert store.warnings == ()
        (sound,) = store._file.db.execute("PRAGMA integrity_check").fetchone()
        assert sound == "ok"
    return numbers(loaded)


def test_processes_that_append_at_once_lose_nothing(path: Path) -> None:
    # They also create the file at the same time.
    workers = [start("append", path, 1000 * i, 40) for i in range(4)]
    for process in workers:
        assert len(finish(process)) == 40
    assert sorted(load(path)) == [1000 * i + j for i in range(4) for j in range(40)]


def test_replacing_loses_nothing_that_others_append(path: Path) -> None:
    Store.open(path).close()
    appending = [start("append", path, 1000 * i, 60) for i in range(2)]
    # Two processes replace parts: sometimes one is too late, and must then change nothing.
    compacting = [start("compact", path, 8) for _ in range(2)]
    for process in appending:
        finish(process)
    with Store.open(path) as store:  # appends more parts until both have finished
        model = store.model("fingerprint", "a model")
        number = 5000
        while any(process.poll() is None for process in compacting):
            model.add(ledger(number))
            number += 1
            time.sleep(0.01)
        expected = [1000 * i + j for i in range(2) for j in range(60)]
        parts, _ = model.load()
    assert all(process.returncode == 0 for process in compacting)
    assert sorted(load(path)) == [*expected, *range(5000, number)]
    whole = joined(parts)
    at = list(whole.contexts).index(1007)
    assert list(whole.successors[whole.offsets[at] : whole.offsets[at + 1]]) == list(
        ledger(1007, worker.PADDING).successors
    )


def test_a_killed_process_loses_at_most_its_last_step(path: Path) -> None:
    rng = random.Random(0)
    done: list[int] = []
    for _ in range(12):
        process = start("churn", path, len(done))
        assert process.stdout is not None
        done.append(int(process.stdout.readline()))
        time.sleep(rng.uniform(0, 0.08))
        process.kill()
        # Not communicate(): it ignores the lines that readline() has already buffered.
        done.extend(int(line) for line in process.stdout.read().split("\n")[:-1])
        process.communicate()
        found = load(path)
        # The last step may have been completed but not reported.
        assert found in (done, [*done, len(done)])
        done = found


def test_locked_for_writing(path: Path) -> None:
    filled(path, 2)
    with held(path, "BEGIN EXCLUSIVE"), Store.open(path, busy_timeout=0.05) as store:
        model = store.model("f", "name")
        assert numbers(model.load()[0]) == [0, 1]  # WAL: a lock for writing does not stop readers
        with pytest.raises(StoreError, match=r"is locked by another process .* try again"):
            model.add(ledger(2))
        with pytest.raises(StoreError, match="is locked by another process"):
            store.save_costs("key", {1: 0.1}, {})
    assert path.is_file()


def test_waits_for_a_lock(path: Path) -> None:
    filled(path, 0)
    process = start("hold", path, "BEGIN IMMEDIATE")
    assert process.stdout is not None
    process.stdout.readline()
    with Store.open(path, busy_timeout=60) as store:
        assert process.stdin is not None
        process.stdin.close()
        store.model("f", "name").add(ledger(1))
    process.wait(60)
    process.stdout.close()


def test_locked_altogether(path: Path) -> None:
    filled(path)
    with held(path, "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE"):
        assert_refused(path, "is locked by another process", "try again", busy_timeout=0.05)


def test_locked_while_new(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with held(path, "BEGIN EXCLUSIVE"):
        assert_refused(path, "is locked by another process", busy_timeout=0.05)


def test_one_state_is_loaded_while_others_write(path: Path) -> None:
    filled(path, 0)
    process = start("churn", path, 0)
    assert process.stdout is not None
    process.stdout.readline()
    with Store.open(path) as store:
        for _ in range(15):
            parts, _ids = store.model("fingerprint", "a model").load()
            found = numbers(parts)
            assert found == list(range(len(found)))
    process.kill()
    process.communicate()


def test_a_sum_has_the_bits_of_its_parts(path: Path) -> None:
    Store.open(path).close()
    finish(start("append", path, 0, 3))
    finish(start("compact", path, 1))
    with Store.open(path) as store:
        (whole,), _ = store.model("fingerprint", "a model").load()
    assert_same(whole, joined([ledger(n, worker.PADDING) for n in range(3)]))
