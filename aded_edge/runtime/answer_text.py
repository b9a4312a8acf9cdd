"""The text of an answer, assembled at a constant cost per token.

`llama_cpp.Llama` detokenizes the whole answer after every token, so a token costs more the longer
the answer is. `AnswerText` looks at new bytes only, and gives the same text and chunks, except that
nothing is lost at the end of a stream (see `rest`).

Knows bytes and stop strings. Does not know tokens, nor how they are generated.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence

_FIRST_BYTES = ((2, 0b1100_0000), (3, 0b1110_0000), (4, 0b1111_0000))
"""Bytes of a UTF-8 character, and the bits that are set in the first one."""

_TAIL = 3
"""The first byte of an unfinished character is among this many bytes at the end of the text."""


class AnswerText:
    """The bytes of an answer that is being generated.

    Args:
        stops: stop strings in UTF-8. If several occur at once, the first in this order counts.

    Attributes:
        tokens: how many tokens it has.
        reason: why the answer ends: "stop" after a stop string; "length" until the caller sets
            another one.
    """

    def __init__(self, stops: Sequence[bytes]) -> None:
        self.tokens = 0
        self.reason = "length"
        self._stops = stops
        self._overlap = max((len(stop) for stop in stops), default=1) - 1
        self._text = bytearray()
        self._searched = 0  # up to here there is no stop string
        self._waiting = 0  # tokens to wait for until a split character is complete
        self._unsent: list[bytes] = []  # the pieces that were not streamed yet
        self._sent = 0  # bytes that were

    def __bytes__(self) -> bytes:
        """Return the answer, up to a stop string."""
        return bytes(self._text)

    def take(self, piece: bytes) -> bool:
        """Add the bytes of the next token.

        Returns:
            False while a character is incomplete. Then the caller looks neither for stop strings
            nor at the limit of tokens. As in llama_cpp, this waits for one token for each missing
            byte, even if one token brings several bytes.
        """
        self.tokens += 1
        self._text += piece
        self._unsent.append(piece)
        for index, byte in enumerate(self._text[-_TAIL:]):
            for length, bits in _FIRST_BYTES:
                if length > _TAIL - index and byte & bits == bits:
                    self._waiting = length - (_TAIL - index)
        if self._waiting > 0:
            self._waiting -= 1
            return False
        self._search()
        return True

    def chunks(self) -> Iterator[str]:
        """Yield the text that can be streamed now.

        The end of the text is held back if it could be the beginning of a stop string, or if it is
        no complete character.
        """
        rest = b"".join(self._unsent)
        room = len(rest) - self._begun_stop(rest)
        while (count := self._complete()) > 0:
            chunk = b"".join(self._unsent[:count])
            room -= len(chunk)
            if room < 0:
                return
            del self._unsent[:count]
            self._sent += len(chunk)
            yield chunk.decode()

    def rest(self) -> Iterator[str]:
        """Yield the text that was not streamed when the answer ended, one token at a time.

        A character that is split between tokens comes with the last of them, so the streamed text
        is the text of the answer. llama_cpp loses such a character here, but not where the answer
        is not streamed.
        """
        decode = codecs.getincrementaldecoder("utf-8")(errors="ignore").decode
        end = len(self._text) - self._sent  # without a stop string
        place = 0
        for piece in self._unsent:
            place += len(piece)
            if place >= end:
                yield decode(piece[: len(piece) - (place - end)])
                return
            yield decode(piece)

    def _search(self) -> None:
        """Look for stop strings in what is new, and in as much before it as one can overlap."""
        start = max(self._searched - self._overlap, 0)
        for stop in self._stops:
            place = self._text.find(stop, start)
            if place >= 0:
                self.reason = "stop"
                del self._text[place:]
                return
        self._searched = len(self._text)

    def _begun_stop(self, rest: bytes) -> int:
        """Return how many bytes at the end may be the beginning of a stop string."""
        longest = 0
        for stop in self._stops:
            sizes = range(min(len(stop), len(rest)), longest, -1)
            longest = next((n for n in sizes if rest.endswith(stop[:n])), longest)
        return longest

    def _complete(self) -> int:
        """Return the least number of unsent pieces that are complete characters; 0 for none."""
        joined = b""
        for count, piece in enumerate(self._unsent, 1):
            joined += piece
            try:
                joined.decode()
            except UnicodeDecodeError:
                continue
            return count
        return 0
