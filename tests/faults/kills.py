"""kill -9 at random moments, and eight processes on one store.

After every kill the store is opened and compared with what the killed processes had been told was
done, and the next round begins with the same files. Knows scenes and children.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from aded_edge.errors import StoreError
from tests.faults.children import Child, Entry, Violation, entries, fork
from tests.faults.papers import Importing, Noting
from tests.faults.scenes import (
    Creating,
    Folding,
    Migrating,
    Scene,
    Teaching,
    check_sound,
    store_in,
)
from tests.faults.talk import Talking, taken_up

LONGEST = 0.25
"""A child works for at most this many seconds before it is killed."""

FOREVER = float("inf")


def scenes(model: Path) -> list[tuple[Scene, int]]:
    """All scenes, and how often each comes in a hundred rounds."""
    return [
        (Talking(model), 34),
        (Folding(), 16),
        (Teaching(model), 12),
        (Creating(), 12),
        (Importing(), 8),
        (Noting(), 8),
        (Migrating(), 10),
    ]


def kill_rounds(
    scene: Scene, folder: Path, rounds: int, seed: int, progress: Callable[[int], object]
) -> dict[str, int]:
    """Start the writers of a scene, kill them, check; again and again in the same folder.

    Args:
        scene: who writes.
        folder: empty; a scene that is `fresh` gets a new one in it for each round.
        rounds: how often.
        seed: of the moments and of what is written.
        progress: called with the number of children killed, after each round.

    Returns:
        Counts: children killed, and operations that had returned before.

    Raises:
        Violation: what must hold did not.
        StoreError: the store could not be used afterwards.
    """
    rng = random.Random(f"{scene.name} {seed}")
    killed, journals = 0, list[Path]()
    returned = 0
    for number in range(1, rounds + 1):
        place = folder / str(number) if scene.fresh else folder
        place.mkdir(parents=True, exist_ok=True)
        if scene.fresh:
            journals.clear()
        scene.prepare(place, seed + number)
        children = []
        for writer in range(scene.writers):
            job = partial(_write, scene, place, number * 10 + writer, FOREVER)
            children.append(fork(job, place / f"{scene.name}-{number:04}-{writer}"))
        journals += [child.journal for child in children]
        _kill(scene, children, rng)
        for child in children:
            child.check(-9)
        written = [entries(path) for path in journals]
        check_sound(store_in(place))
        scene.check(place, written)
        killed += len(children)
        returned += sum(map(_returned, [child.entries() for child in children]))
        progress(len(children))
    return {"killed": killed, "returned": returned}


def crowd(
    model: Path, folder: Path, seconds: float, seed: int, progress: Callable[[float], object]
) -> dict[str, int]:
    """Eight processes on one store, none of them killed.

    Args:
        model: the tiny model's file.
        folder: where the store is made.
        seconds: how long they work.
        seed: of what is written.
        progress: called with the seconds that went by since its last call.

    Returns:
        Counts: operations that returned, and lines that a process printed.

    Raises:
        Violation: what must hold did not.
    """
    chat, fold, importing = Talking(model, alone=False), Folding(), Importing()
    team = [chat, chat, chat, fold, fold, Teaching(model), importing, Noting(alone=False)]
    until = time.monotonic() + seconds
    children = [
        fork(partial(_write, scene, folder, seed + 1 + n, until), folder / f"{scene.name}-{n}")
        for n, scene in enumerate(team)
    ]
    while any(child.running() for child in children) and time.monotonic() < until:
        time.sleep(min(1.0, seconds / 10))
        progress(min(1.0, seconds / 10))
    for child in children:
        child.wait()
    after = _after(store_in(folder))
    for child in children:
        try:
            child.check(0)
        except Violation as error:  # was it the file, or only what this child saw of it?
            raise Violation(f"{error}; the store afterwards: {after}") from None
    check_sound(store_in(folder))
    journals: dict[Scene, list[list[Entry]]] = {scene: [] for scene in team}
    for scene, child in zip(team, children, strict=True):
        journals[scene].append(child.entries())
    importing.taken_up = taken_up(journals[chat])
    for scene, own in journals.items():
        scene.check(folder, own)
    lines = sum(len(child.text().splitlines()) for child in children)
    return {"returned": sum(_returned(c.entries()) for c in children), "lines": lines}


def _after(path: Path) -> str:
    try:
        check_sound(path)
    except (Violation, StoreError) as error:
        return str(error)
    return "sound"


def _write(scene: Scene, folder: Path, seed: int, until: float, journal: object) -> None:
    scene.write(journal, folder, seed, until)  # type: ignore[arg-type]


def _kill(scene: Scene, children: Sequence[Child], rng: random.Random) -> None:
    if not scene.fresh:  # else the first moments count
        for child in children:
            child.wait_for(1)
    for child in rng.sample(list(children), len(children)):
        time.sleep(rng.uniform(0, LONGEST / len(children)))
        child.kill()


def _returned(journal: list[Entry]) -> int:
    return sum("done" in entry or "said" in entry for entry in journal)
