"""How texts and times are shown to people.

Knows which characters a terminal obeys instead of showing them, and the local time. Does not print.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone

_OBEYED = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u206f\ud800-\udfff]|\r(?!\n)"
)
"""Control characters (C0, DEL, C1) except tab and newline, separators of lines, embeddings and
overrides of the writing direction, and lone surrogates, which no terminal can be sent."""


def visible(text: str) -> str:
    r"""Return a text that a terminal only shows: what it would obey is written as \uXXXX.

    JSON stays JSON with the same content, because there it is the same character.
    """
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def one_line(text: str) -> str:
    """Return `visible(text)` in one line: for titles, names and errors."""
    return visible(re.sub(r"\s*[\r\n]+\s*", " ", text))


def local(time: str, *, day: bool = False) -> str:
    """Return a time of the store (UTC, like "2026-01-31T18:00:00Z") as people here read it.

    Args:
        time: the time. What is no time, as in a file that was edited by hand, is returned as it is.
        day: only the date.
    """
    try:
        moment = datetime.fromisoformat(time.replace("Z", "+00:00"))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        return moment.astimezone().strftime("%Y-%m-%d" if day else "%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return time
