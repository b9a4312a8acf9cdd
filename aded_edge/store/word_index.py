"""The FTS5 indexes of messages, memories and passages: filled, and asked how rare a word is.

Knows their tables. Does not know how a text becomes tokens (`tokens.py`), nor who searches.

An index holds the tokens of each text, not the text, because SQLite's own tokenizers know neither
scripts without spaces nor all forms of a letter. Triggers remove rows; `fill` adds them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from .full_text import MOST_TERMS, any_of
from .tokens import indexed

_COUNTED = 500
"""Texts are counted up to this number: a word in more of them is common."""

_MOST_COUNTED = 1000
"""The most words of a question that are counted; of a longer one, the longest words."""


def fill(conn: sqlite3.Connection, table: str, column: str) -> None:
    """Add all rows of a table that are newer than its index. To be called in a transaction."""
    row = conn.execute(f"SELECT rowid FROM {table}_fts ORDER BY rowid DESC LIMIT 1").fetchone()
    new = conn.execute(f"SELECT id, {column} FROM {table} WHERE id > ?", row or (-1,))
    conn.executemany(
        f"INSERT INTO {table}_fts(rowid, {column}) VALUES (?, ?)",
        ((number, indexed(text)) for number, text in new.fetchall()),
    )


def rarest(conn: sqlite3.Connection, table: str, words: Sequence[str]) -> list[str]:
    """Of some phrases those that are searched for: at most MOST_TERMS, the rarest that occur."""
    if len(words) <= MOST_TERMS:
        return list(words)
    count = f"SELECT count(*) FROM (SELECT 1 FROM {table}_fts WHERE {table}_fts MATCH ? LIMIT {_COUNTED})"
    counts = {
        word: int(conn.execute(count, (any_of([word]),)).fetchone()[0])
        for word in sorted(words, key=len, reverse=True)[:_MOST_COUNTED]
    }
    there = [word for word in words if counts.get(word)]
    return sorted(there, key=lambda word: counts[word])[:MOST_TERMS]
