"""Shared by `learn` and `prime`: a report on the store.

Knows lines of text. Does not know how a model is taught.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from aded_edge.teach.lessons import Lessons


def holdings(lessons: Lessons, path: Path, tokens: int) -> Iterator[str]:
    """Describe in lines what a store contains, and whether it had room for all it was taught.

    Args:
        lessons: the model's part of the store.
        path: the store's file.
        tokens: number of tokens that it was taught.
    """
    held = lessons.drafter.everything()
    if tokens > len(held.tokens):
        yield f"the log of copied spans is full at {len(held.tokens):,} tokens: it keeps the latest"
    contexts, most = len(held.rows.keys), lessons.drafter.matrix.max_contexts
    if contexts >= most * 3 // 4:  # a full matrix drops its rarest quarter
        yield f"the matrix is full at {most:,} contexts: it drops the oldest and rarest"
    size = path.stat().st_size / 1e6
    yield f"the matrix holds {contexts:,} contexts; the store, {path}, {size:.1f} MB"
