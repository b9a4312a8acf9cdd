"""What `learn` and `prime` share: Ctrl-C that cuts nothing in two, and what a store holds now.

Knows signals and lines. Does not know how anything is taught.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from aded_edge.teach.lessons import Lessons


def holdings(lessons: Lessons, path: Path, tokens: int) -> Iterator[str]:
    """What a store holds after it was taught `tokens`, and whether that is all, in lines."""
    held = lessons.drafter.everything()
    if tokens > len(held.tokens):
        yield f"the log of copied spans is full at {len(held.tokens):,} tokens: the latest stay"
    contexts, most = len(held.rows.keys), lessons.drafter.matrix.max_contexts
    if contexts >= most * 3 // 4:  # of what is full the rarest quarter is dropped
        yield f"the matrix is full at {most:,} contexts: the oldest and rarest make way"
    size = path.stat().st_size / 1e6
    yield f"the matrix holds {contexts:,} contexts; the store, {path}, {size:.1f} MB"


@contextmanager
def until_interrupted() -> Iterator[Callable[[], bool]]:
    """Ctrl-C asks to stop, so that nothing is cut in two; a second one stops at once."""
    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        asked.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, before)
