"""Notices an answer that goes round in a circle.

Knows text. Does not know tokens, nor what is done about it.
"""

from __future__ import annotations

PIECES = 300
"""Pieces of the answer (about a token each) that must repeat one and the same text."""

_EVERY = 32
"""Pieces between two looks."""

_TIMES = 3
"""The text must stand in them at least this often."""


class Repetition:
    """Watches one answer."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._noticed = False

    def notices(self, piece: str) -> bool:
        """Take the next piece. Returns True once, when the answer has begun to go in a circle."""
        self._pieces.append(piece)
        count = len(self._pieces)
        if self._noticed or count < PIECES or count % _EVERY:
            return False
        del self._pieces[: -PIECES - _EVERY]
        self._noticed = _is_periodic("".join(self._pieces[-PIECES:]))
        return self._noticed


def _is_periodic(text: str) -> bool:
    """Whether the text is one shorter text over and over, perhaps cut at both ends."""
    longest = len(text) // _TIMES
    end = text[-longest:]
    # The end must occur earlier, a period before; find looks for the nearest such place.
    place = text.rfind(end, 0, len(text) - 1)
    period = len(text) - longest - place
    return place >= 0 and 0 < period <= longest and text[period:] == text[:-period]
