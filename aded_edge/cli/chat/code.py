"""A block of code, coloured and drawn line by line while it grows.

Knows Pygments' lexers. Does not know fences, nor the window.
"""

from __future__ import annotations

from rich.syntax import Syntax
from rich.text import Text

from .row import Line

_COLOURS = Syntax.get_theme("monokai")

_READ_AGAIN = 2000
"""Characters that are read again, at most, to colour the next line."""

_INSIDE = ("Token.Literal.String", "Token.Comment")
_ENDS = "Token.Comment.Single"


class Code:
    """A block of code.

    Colours depend on what came before, as in a string of several lines. What comes next is
    therefore read behind the last lines, from one that is not indented and begins inside no string
    or comment. A long block costs as much a line as a short one.

    Args:
        language: a name that Pygments may know.
    """

    def __init__(self, language: str) -> None:
        self._lexer = Syntax("", language or "text").lexer
        self._before: list[str] = []  # lines that are drawn, and are read again
        self._new: list[str] = []

    def add(self, line: str) -> None:
        """Takes a line of code."""
        self._new.append(line.expandtabs(4))

    def news(self) -> list[Line]:
        """The lines that were added since the last call, in colour."""
        read, begin = [*self._before, *self._new], len(self._before)
        self._new, self._before = [], []
        if begin == len(read):
            self._before = read
            return []
        texts, inside = self._coloured("\n".join(read))
        if [text.plain for text in texts] != read:  # a lexer that changes text
            return [self.plain(line) for line in read[begin:]]
        starts = [n for n, line in enumerate(read) if not inside[n] and line.strip()]
        whole = [n for n in starts if read[n][0] not in " )]}"]
        for start in (*whole[-1:], *starts[-1:]):
            if not self._before and sum(map(len, read[start:])) <= _READ_AGAIN:
                self._before = read[start:]
        return [Line(text, filled=True) for text in texts[begin:]]

    def plain(self, line: str) -> Line:
        """A line without the colours of the language."""
        return Line(Text(line.expandtabs(4), _COLOURS.get_background_style()), filled=True)

    def _coloured(self, code: str) -> tuple[list[Text], list[bool]]:
        """The lines of the code, and whether each begins inside a string or comment."""
        base = _COLOURS.get_background_style()
        texts, inside = [Text(style=base)], [False]
        for kind, value in self._lexer.get_tokens(code) if self._lexer else [((), code)]:
            style, name = _COLOURS.get_style_for_token(kind), str(kind)
            first, *more = value.split("\n")
            texts[-1].append(first, style)
            for line in more:
                texts.append(Text(style=base).append(line, style))
                inside.append(name.startswith(_INSIDE) and name != _ENDS)
        lines = code.count("\n") + 1  # a lexer ends the last line
        return texts[:lines], inside[:lines]
