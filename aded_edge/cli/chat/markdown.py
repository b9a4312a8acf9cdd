"""Markdown drawn line by line, so that every character of an answer is on the screen.

A line stays a line. Headings, code, tables, bold text and italics are drawn without their marks;
everything else is drawn as it was written: lists with their marks and numbers, quotes, rules, tags,
entities, links, backslashes. Rich's own Markdown follows CommonMark, which leaves out tags,
entities, link targets, backslashes and cells, and joins lines.

Knows Markdown and rich's renderables. Does not know when a line is drawn, nor the window.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from rich.box import SIMPLE
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from .code import Code
from .inline import inline
from .row import Line

_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(\S.*)")
_RULE = re.compile(r"\s{0,3}([-*_])(\s*\1){2,}\s*")
_MARK = re.compile(r"(\s*(?:(?:[-*+]|\d{1,9}[.)])\s+(?=\S)|(?:>\s?)+)?\s*)(.*)")
"""The mark of a list or a quote, or the indentation alone; and the rest of the line."""

_UNDECIDED = re.compile(r"\s*(#{1,6}|\d{1,9}[.)]?|[-*+>]|`+[^`]*|~+[^~]*)?\s*")
"""The beginning of a line that may still become a heading, a list or a fence."""

_FENCE = re.compile(r"\s*(?:(`{3,})([^`]*)|(~{3,})([^~]*))")
_DELIMITERS = re.compile(r"\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*")
_CELL = re.compile(r"(?<!\\)\|")
_LEAST = 6
"""Columns of the window that a column of a table needs at least, its frame included."""

_SEEN = 100
"""Rows of a growing table that are drawn, so that a redraw of a long one costs no more."""


class _Rows:
    """A table: the lines as they came, and as cells where the window is wide enough."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        head, marks, *rows = map(_cells, self._lines)
        columns = max(map(len, (head, *rows)))
        if columns * _LEAST > options.max_width:
            yield from (Line(inline(line)[0]) for line in self._lines)
            return
        table = Table(box=SIMPLE, pad_edge=False, show_edge=False)
        for n in range(columns):
            cell, mark = head[n : n + 1], "".join(marks[n : n + 1])
            title = inline("".join(cell))[0]
            title.stylize("bold")
            ends = mark.endswith(":")
            justify = "center" if ends and mark.startswith(":") else "right" if ends else "left"
            table.add_column(title, justify=justify, overflow="fold")  # type: ignore[arg-type]
        for row in rows:
            table.add_row(*(inline(cell)[0] for cell in row))
        yield table


class Markdown:
    """Draws the lines of one answer, in their order."""

    def __init__(self) -> None:
        self._code: Code | None = None
        self._fence = ""  # what its end needs at least
        self._held: list[str] = []  # lines of a table, or one that may be its first

    def take(self, lines: Sequence[str], begun: bool = False) -> list[RenderableType]:
        """Draws complete lines. A line that may begin a table is held until the next one.

        Args:
            lines: the lines, without their newlines.
            begun: rows of the first one are on the screen already; it begins no table.
        """
        drawn: list[RenderableType] = []
        for n, line in enumerate(lines):
            drawn += self._line(line, begun and n == 0)
        if self._code is not None:
            drawn += self._code.news()
        return drawn

    def rest(self) -> list[RenderableType]:
        """Draws the lines that were held."""
        held, self._held = self._held, []
        return [_Rows(held)] if len(held) > 1 else [_line(line) for line in held]

    def growing(self, line: str) -> list[RenderableType]:
        """Draws the lines that are held, and the last line, which is not complete yet."""
        if self._code is not None:
            return [self._code.plain(line)]
        if "|" in line and len(self._held) > 1:
            return [_Rows([*self._newest(), line])]
        held: list[RenderableType] = [_Rows(self._newest())] if len(self._held) > 1 else []
        held = held or [_line(one) for one in self._held]
        last = _line(line)
        unsure = bool(held) or "|" in line or _UNDECIDED.fullmatch(line)
        return [*held, replace(last, settled=last.settled and not unsure)]

    def _newest(self) -> list[str]:
        """The head of the table that grows, and as many of its last rows as are seen."""
        return [*self._held[:2], *self._held[2:][-_SEEN:]]

    def _line(self, line: str, begun: bool) -> list[RenderableType]:
        if self._code is not None:
            mark = line.strip()
            if len(mark) < len(self._fence) or set(mark) != {self._fence[0]}:
                self._code.add(line)
                return []
            ended, self._code = self._code.news(), None
            return [*ended]
        if self._held and (_makes_table(self._held[0], line, len(self._held))):
            self._held.append(line)
            return []
        drawn = self.rest()
        if fence := _FENCE.fullmatch(line):
            info = (fence[2] or fence[4] or "").strip()
            self._fence = fence[1] or fence[3]
            self._code = Code(info.partition(" ")[0])
            return [*drawn, Line(Text(info, "dim"))] if info else drawn
        if "|" in line and not begun:
            self._held = [line]
            return drawn
        return [*drawn, _line(line)]


def draw(text: str) -> list[RenderableType]:
    """Draws a whole text."""
    markdown = Markdown()
    return [*markdown.take(text.strip("\n").split("\n")), *markdown.rest()]


def literal(line: str, style: str) -> Line:
    """A line without marks, in one style."""
    return Line(Text(line.rstrip(), style), settled=True)


def _line(line: str) -> Line:
    line = line.rstrip()
    if heading := _HEADING.fullmatch(line):
        text, settled = inline(heading[2])
        text.stylize_before(f"markdown.h{len(heading[1])}")
        return Line(text, settled=settled)
    if _RULE.fullmatch(line):
        return Line(Text(line, "dim"))
    found = _MARK.fullmatch(line)
    assert found is not None, "the rest of the line may be anything"
    text, settled = inline(found[2])
    quoted = found[1].lstrip().startswith(">")
    # The style of a part, because the base style of a mark would be that of the whole row.
    mark = Text().append(found[1].expandtabs(), "markdown.block_quote" if quoted else "bold")
    return Line(text, mark, settled)


def _makes_table(head: str, line: str, held: int) -> bool:
    if held > 1:
        return "|" in line
    marks = _DELIMITERS.fullmatch(line) and "|" in line
    return bool(marks) and len(_cells(head)) == len(_cells(line))


def _cells(row: str) -> list[str]:
    cells = _CELL.split(row.strip())
    if not cells[0].strip():
        del cells[0]
    if cells and not cells[-1].strip():
        del cells[-1]
    return [cell.strip() for cell in cells]
