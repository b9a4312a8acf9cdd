"""A line of an answer, folded to the width of the window.

Knows widths. Does not know Markdown.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text


@dataclass(frozen=True)
class Line:
    """A line, folded to the width of the window.

    Attributes:
        text: the line.
        mark: what stands in front of it; folded rows are indented by its width.
        settled: what follows in the same line cannot change how this is drawn.
        filled: the colour of the background reaches the right edge.
    """

    text: Text
    mark: Text = field(default_factory=Text)
    settled: bool = False
    filled: bool = False

    @property
    def blank(self) -> bool:
        """Whether it is an empty line between blocks."""
        return not self.filled and not self.text.plain.strip() and not self.mark.plain.strip()

    def rows(self, console: Console, width: int) -> list[Text]:
        """Folds the line. Without room for the mark, the mark is folded too."""
        hang = self.mark.cell_len
        if not self.hangs(width):
            return list((self.mark + self.text).wrap(console, width, overflow="fold"))
        rows = list(self.text.wrap(console, width - hang, overflow="fold")) or [Text()]
        if not self.filled:
            # rich gives the blank behind a folded word a row of its own
            rows = [row for row in rows if row.plain.strip()] or rows[:1]
        else:
            for row in rows:
                row.truncate(width, pad=True)
        return [(Text(" " * hang) if n else self.mark) + row for n, row in enumerate(rows)]

    def hangs(self, width: int) -> bool:
        """Whether folded rows have room beside the mark."""
        return self.mark.cell_len * 2 <= width

    def after(self, place: int) -> Line:
        """The rest of the line, behind so many characters of the text."""
        if not place:
            return self
        return replace(self, text=self.text[place:], mark=Text(" " * self.mark.cell_len))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self.rows(console, options.max_width)
