"""Queries for SQLite's full-text search (FTS5), made from what people type.

Knows FTS5's query syntax and which words carry no meaning. Does not know what is searched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_WORD = re.compile(r"\w+")

MOST_TERMS = 12
"""The most words of a question that are searched for."""

# Stop words: almost every text contains them, so they match everything and rank nothing.
_STOP_WORDS = frozenset(
    """
    a about after again all also always am an and any are aren as at be because been before
    being between both but by can cannot could did do does doing don done down each even every
    few first for from get give go good got had has have having he hello help her here him his
    how i if in into is isn it its just know let like ll look made make many may me mean might
    more most much must my need no not now of off on one only or other our out over own please
    put re really right s said same say see she should so some something such sure t tell than
    thank thanks that the their them then there these they thing think this those through time
    to too try under until up us use used using ve very want was way we well were what when
    where which while who why will with would write yes yet you your
    """.split()  # noqa: SIM905  (a list of this many literals would fill four screens)
)


def terms(text: str, most: int = MOST_TERMS) -> list[str]:
    """The distinct words of a text that are no stop words, in lower case.

    Args:
        text: any text.
        most: the most words to return; later ones are dropped.
    """
    words = dict.fromkeys(word.lower() for word in _WORD.findall(text))
    return [word for word in words if len(word) > 1 and word not in _STOP_WORDS][:most]


def all_of(text: str) -> str:
    """A query for texts that contain every word of this text; "" if it has no words.

    The last word also matches as the beginning of a longer one, because it may not be typed out.
    """
    words = _WORD.findall(text)
    return " ".join(map(_quoted, words)) + "*" if words else ""


def any_of(words: Iterable[str]) -> str:
    """A query for texts that contain at least one of the words; "" without words."""
    return " OR ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    return f'"{word}"'  # matches of _WORD contain no quotation mark
