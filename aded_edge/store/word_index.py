"""The FTS5 indexes of messages, memories and passages: filled, and asked how rare a word is.

Knows their tables. Does not know how a text becomes tokens (`tokens.py`), nor who searches.

An index holds the tokens of each text, not the text, because SQLite's own tokenizers know neither
scripts without spaces nor all forms of a letter. Triggers remove rows; `fill` adds them.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate

from .full_text import any_of
from .tokens import indexed

MOST_TERMS = 12
"""So many words of a question are searched for, and more as long as they are rare."""

_COUNTED = 500
"""Texts that hold a word are counted up to this number."""

_MOST_FOUND = 2000
"""Texts that all words of a question may find together, if it has more than MOST_TERMS. Each is
ranked, which takes time."""

_MOST_COUNTED = 1000
"""The most words of a question that are counted; of a longer one, the longest words."""


def fill(conn: sqlite3.Connection, table: str, column: str) -> None:
    """Add all rows of a table that are newer than its index. To be called in a transaction."""
    row = conn.execute(f"SELECT rowid FROM {table}_fts ORDER BY rowid DESC LIMIT 1").fetchone()
    new = conn.execute(f"SELECT id, {column} FROM {table} WHERE id > ?", row or (-1,))
    conn.executemany(
        f"INSERT INTO {table}_fts(rowid, {column}) VALUES (?, ?)",
        ((number, indexed(text)) for number, text in new),
    )


def rarest(conn: sqlite3.Connection, table: str, words: Sequence[str]) -> list[str]:
    """Of some phrases those that are searched for: all if they are few, else the rarest."""
    if len(words) <= MOST_TERMS:
        return list(words)
    found = f"SELECT 1 FROM {table}_fts WHERE {table}_fts MATCH ? LIMIT {_COUNTED}"
    counts = {
        word: int(conn.execute(f"SELECT count(*) FROM ({found})", (any_of([word]),)).fetchone()[0])
        for word in sorted(words, key=len, reverse=True)[:_MOST_COUNTED]
    }
    there = sorted((word for word in words if counts.get(word)), key=lambda word: counts[word])
    totals = list(accumulate(counts[word] for word in there))
    return there[: max(MOST_TERMS, bisect(totals, _MOST_FOUND))]
