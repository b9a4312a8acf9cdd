"""Stores that are damaged, locked, full, read-only, of a newer version, or replaced while running.

For each case the commands run as a user would run them, in a child. What must hold: no traceback;
the chat answers; a fault is told in single lines; a file that is refused stays as it is, byte for
byte; and what was learned is read with its right bits, or left out with a warning.

Knows the commands and files. Does not know what a store's tables mean.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

from aded_edge.cli.start import main
from aded_edge.errors import StoreError
from aded_edge.runtime import costs
from aded_edge.store import Store
from aded_edge.store.part import DTYPES
from tests.faults.children import Child, Journal, Violation, fork
from tests.faults.papers import Noting
from tests.faults.scenes import expect, store_in
from tests.faults.talk import open_assistant

MOST_LINES = 8
"""The most lines that the commands may say about one damaged store."""

NOBODY = 65_534
"""User and group without rights."""

Spoil = Callable[[Path], None]
"""Damages the store at a path."""


class Case(NamedTuple):
    """One kind of damage at one place."""

    name: str
    spoil: Spoil


def build(model: Path, folder: Path) -> None:
    """Make a store with everything in it: turns, a memory, notes, parts and a cost curve."""

    def fill(journal: Journal) -> None:
        with open_assistant(model, folder) as assistant:
            assistant.remember("the user likes green tea")
            for number in range(4):
                list(assistant.ask(f"question {number}"))
        Noting().write(journal, folder, 1, time.monotonic() + 0.1)

    child = fork(fill, folder / "build")
    child.wait()
    child.check(0)


def cases(size: int, truncations: int, flips: int, seed: int) -> Iterator[Case]:
    """All damages of a file of this size, in a random order of places that the seed decides."""
    rng = random.Random(seed)
    for _ in range(truncations):
        length = rng.randrange(size)
        yield Case(f"truncated to {length}", partial(os.truncate, length=length))
    for n in range(flips):
        # Half of them hit the schema and the roots of the tables.
        bit = rng.randrange(8 * (size if n % 2 else min(size, 16_384)))
        yield Case(f"bit {bit} flipped", partial(flip, bit))
    yield Case("a newer version", _newer)
    yield Case("emptied", partial(os.truncate, length=0))
    yield Case("text in its place", lambda path: path.write_text("no database\n" * 999) and None)


def flip(bit: int, path: Path) -> None:
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def check_case(case: Case, model: Path, base: Path, folder: Path) -> str:
    """Damage a copy of a store and use it.

    Returns:
        "refused", "warned" or "used".

    Raises:
        Violation: what must hold did not.
    """
    shutil.copytree(base, folder, ignore=shutil.ignore_patterns("*.journal", "*.said"))
    path = store_in(folder)
    case.spoil(path)
    before = path.read_bytes()
    child = use(model, folder, base)
    return judge(child, path, before, case.name)


def use(
    model: Path,
    folder: Path,
    base: Path | None = None,
    *,
    user: Path | None = None,
    log: Path | None = None,
    as_nobody: bool = False,
) -> Child:
    """Run the commands on the store of a folder, in a child, to their end.

    Args:
        model: the tiny model's file.
        folder: has the store.
        base: has the store as it was before it was damaged.
        user: the user's folder, `folder` / "user" if left out.
        log: name of the child's journal and output, `folder` / "use" if left out.
        as_nobody: without root's rights, if the harness has them; `base` is used before.
    """
    about = (model, folder, base, user or folder / "user", as_nobody)
    child = fork(partial(_commands, *about), log or folder / "use")
    child.wait()
    return child


def judge(child: Child, path: Path, before: bytes | None, name: str) -> str:
    """Check what `use` showed; `before` is the content of the file, None if there was none."""
    try:
        child.check(0)
    except Violation as violation:
        raise Violation(f"{name}: {violation}") from None
    said = child.text()
    faults = [line for line in said.splitlines() if str(path) in line]
    expect(len(faults) <= MOST_LINES, f"{name}: {len(faults)} lines of warnings: {faults}")
    # Of a file that is damaged in one place, the other tables are used and written.
    if "left as it is" in said or "left as it was" in said or "newer aded-edge" in said:
        same = before is not None and path.exists() and path.read_bytes() == before
        expect(same, f"{name}: refused, and yet not left as it is")
        return "refused"
    return "warned" if faults else "used"


def _commands(
    model: Path, folder: Path, base: Path | None, user: Path, as_nobody: bool, journal: Journal
) -> None:
    path = store_in(folder)
    if as_nobody and os.geteuid() == 0:
        # Once with all rights: nobody may not be able to import a module that is still missing.
        assert base is not None
        _commands(model, base, None, user, False, journal)
        # The program's own files are for their owner alone. Folders stay root's, with their modes.
        for entry in (user, *user.rglob("*"), base, *base.rglob("*"), path):
            os.chown(entry, NOBODY, NOBODY)
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    for name in ("DATA", "CACHE", "CONFIG", "STATE"):
        os.environ[f"XDG_{name}_HOME"] = str(user)
    costs.MEASURE_SECONDS = 0.05
    if base is not None:
        _check_parts(store_in(base), path)
    chat = ["chat", str(model), "--ctx", "512", "--threads", "1", "--gpu-layers", "0"]
    chat += ["--max-tokens", "6", "--temperature", "0", "--prompt", "hello", "--json"]
    expect(_run([*chat, "--store", str(path)], journal) == 0, "the chat gave no answer")
    for command in ("history list", "history search question", "notes search version", "stats"):
        _run([*command.split(), "--store", str(path)], journal)


def _run(arguments: list[str], journal: Journal) -> int:
    try:
        main(arguments)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 0
    journal(ran=arguments[0], status=status)
    return status


def _check_parts(base: Path, path: Path) -> None:
    """Every part that is read from the damaged store is one of the undamaged store's."""
    whole = _parts(base)
    try:
        found = _parts(path, read_only=True)
    except StoreError:
        return
    wrong = found - whole
    expect(not wrong, f"{path}: {len(wrong)} parts were read with other bits")


def _parts(path: Path, read_only: bool = True) -> set[tuple[bytes, ...]]:
    with Store.open(path, read_only=read_only) as store:
        with store._file.reading() as conn:
            models = [row[0] for row in conn.execute("SELECT fingerprint FROM models")]
        parts = [part for model in models for part in store.model(str(model), "").load()[0]]
    return {tuple(getattr(part, name).tobytes() for name in DTYPES) for part in parts}


def _newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
            " VALUES ('aded-edge', '9999_from_the_future', 'now')"
        )
