"""Prints answers while they are generated, and describes them.

On a terminal an answer is drawn as Markdown: a finished line is printed once, and the growing one
is redrawn a few times a second. Elsewhere the model's text is printed unchanged.

Knows how thoughts are shown. Does not know where an answer comes from, nor how a line is drawn.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol

from rich.console import Console, RenderableType
from rich.text import Text

from aded_edge.decode.stats import Stats
from aded_edge.shown import visible

from ..output import data, dim, say
from .live import LiveRows
from .markdown import Markdown, draw, literal
from .row import Line
from .thoughts import Thoughts

Think = Literal["dim", "hide"]
"""How reasoning between <think> and </think> is shown on a terminal."""

_REDRAW = 0.12
"""Seconds between two redraws. llama.cpp waits while rows are drawn."""

ENOUGH_STEPS = 64
"""A ratio of times means little before so many steps."""

_THOUGHT = "dim italic"

LATE = "(all of the above was the model's thinking)"
"""Said where </think> came without <think>, behind text that was printed as the answer."""

NOTHING_SAID = "(the model did not get beyond its thinking, which is hidden)"


class Printer(Protocol):
    """Prints one answer, piece by piece."""

    def feed(self, piece: str) -> None:
        """Takes the next piece of the answer."""
        ...

    def end(self) -> None:
        """Prints the rest. Called when the answer has ended or was stopped."""
        ...

    def remark(self, text: str) -> None:
        """Says something about the answer while it is being printed."""
        ...


class PlainPrinter:
    """Prints the text, for pipes and for terminals without cursor control.

    Into a pipe or a file it goes unchanged; on a terminal control characters are written out.

    Args:
        thoughts: print the model's reasoning too.
        thinking: the prompt opened the reasoning.
    """

    def __init__(self, thoughts: bool = True, thinking: bool = False) -> None:
        self._thoughts = thoughts
        self._split = Thoughts(thinking)
        self._said = self._told = False

    def feed(self, piece: str) -> None:
        """Prints it at once."""
        if self._thoughts:
            data(piece)
            return
        self._print(self._split.feed(piece))

    def end(self) -> None:
        """Ends the line."""
        if not self._thoughts:
            self._print(self._split.rest())
            if not self._said and self._split.thinking:
                dim(NOTHING_SAID)
        data("\n")

    def remark(self, text: str) -> None:
        """Prints a dim line on stderr, and goes on with the answer below it."""
        say(err=True)
        dim(text)

    def _print(self, parts: Iterable[tuple[bool, str]]) -> None:
        for thought, text in parts:
            self._tell_if_late()
            if not thought:
                text = text if self._said else text.lstrip("\n")
                self._said |= bool(text)
                data(text)
        self._tell_if_late()

    def _tell_if_late(self) -> None:
        if self._split.late and not self._told:
            self._told, self._said = True, False
            self.remark(LATE)


class MarkdownPrinter:
    """Draws an answer as Markdown on a terminal.

    Args:
        console: rich's console for the terminal.
        think: how the model's reasoning is shown.
        thinking: the prompt opened the reasoning.
    """

    def __init__(self, console: Console, think: Think, thinking: bool = False) -> None:
        self._console = console
        self._think = think
        self._split = Thoughts(thinking)
        self._live = LiveRows(console)
        self._section = _Section(False)
        self._drawn = 0.0
        self._printed = self._told = False

    def feed(self, piece: str) -> None:
        """Prints the lines that are finished and redraws the one that grows."""
        self._take(self._split.feed(piece))
        now = time.monotonic()
        if now - self._drawn >= _REDRAW and self._section.text:
            self._drawn = now
            self._show(*self._section.step(self._console))

    def end(self) -> None:
        """Prints the rest of the answer."""
        self._take(self._split.rest())
        self._close()
        self._live.end([])
        if self._split.thinking and self._think == "hide" and not self._printed:
            self.remark(NOTHING_SAID)

    def remark(self, text: str) -> None:
        """Prints a dim line above the rows that grow."""
        self._console.print(Text(visible(text), style="dim"))

    def _take(self, parts: Iterable[tuple[bool, str]]) -> None:
        for thought, text in parts:
            self._tell_if_late()
            if thought and self._think == "hide":
                continue
            if thought != self._section.thought:
                self._close()
                self._section = _Section(thought)
            self._section.add(text)
        self._tell_if_late()

    def _tell_if_late(self) -> None:
        if self._split.late and not self._told:
            self._told = True
            self._close()
            self.remark(LATE)
            self._section = _Section(False)

    def _show(self, final: list[RenderableType], growing: list[RenderableType]) -> None:
        self._live.show(self._spaced(final), growing)

    def _close(self) -> None:
        final, _ = self._section.step(self._console, ends=True)
        if final:
            self._live.end(self._spaced(final))

    def _spaced(self, final: list[RenderableType]) -> list[RenderableType]:
        """An empty line separates thoughts from the answer."""
        if not final:
            return final
        first = self._printed and not self._section.printed
        self._printed = self._section.printed = True
        return [Text(), *final] if first else final


class _Section:
    """Thoughts, or a part of the answer between thoughts, while it grows.

    Attributes:
        thought: it is thoughts.
        text: what is not printed yet, the beginning of the last line included.
        printed: something of it is on the screen for good.
    """

    def __init__(self, thought: bool) -> None:
        self.thought = thought
        self.text = ""
        self.printed = False
        self._markdown = Markdown()
        self._shown = 0  # characters of the last line's drawn text that are printed
        self._blank: list[RenderableType] = []
        self._begun = False  # a line that is not empty was there

    def add(self, text: str) -> None:
        """Takes the next text. Empty lines at the beginning are left out."""
        self.text += text
        while not self._begun and "\n" in self.text:
            first, _, rest = self.text.partition("\n")
            self._begun = bool(first.strip())
            self.text = self.text if self._begun else rest

    def step(
        self, console: Console, ends: bool = False
    ) -> tuple[list[RenderableType], list[RenderableType]]:
        """Returns what is final since the last step, and what grows."""
        # A carriage return at the end may belong to a newline that follows.
        text = self.text if ends else self.text.removesuffix("\r")
        *lines, last = visible(text).split("\n")
        if ends:
            lines, last = [*lines, *([last] if last else [])], ""
        drawn = self._lines(lines)
        if lines:
            self._shown = 0
        self.text = "" if ends else self.text[self.text.rfind("\n") + 1 :]
        if ends:
            return self._without_blanks([*drawn, *self._markdown.rest()]), []
        growing = self._growing(last)
        if isinstance(growing[-1], Line):
            early, growing[-1] = self._early(growing[-1], console)
            drawn += early
        return self._without_blanks(drawn), growing

    def _lines(self, lines: Sequence[str]) -> list[RenderableType]:
        if not lines:
            return []
        if self.thought:
            drawn: list[RenderableType] = [literal(line, _THOUGHT) for line in lines]
        else:
            drawn = self._markdown.take(lines, begun=self._shown > 0)
        if self._shown and isinstance(drawn[0], Line):
            drawn[0] = drawn[0].after(self._shown)
        return drawn

    def _growing(self, last: str) -> list[Any]:
        return [literal(last, _THOUGHT)] if self.thought else self._markdown.growing(last)

    def _early(self, line: Line, console: Console) -> tuple[list[RenderableType], Line]:
        """The rows of the growing line that stay as they are, and the rest of the line."""
        line = line.after(self._shown)
        rows = line.rows(console, console.width)
        if not line.settled or not line.hangs(console.width) or len(rows) < 2:  # noqa: PLR2004
            return [], line
        left = line.text.plain.rstrip()
        last = rows[-1].plain[line.mark.cell_len :].rstrip()
        place = len(left) - len(last)
        if not left.endswith(last) or not place:
            return [], line
        self._shown += place
        return [*rows[:-1]], line.after(place)

    def _without_blanks(self, drawn: list[RenderableType]) -> list[RenderableType]:
        """Holds empty lines back until something follows them."""
        kept: list[RenderableType] = []
        for one in drawn:
            if isinstance(one, Line) and one.blank:
                self._blank.append(one)
                continue
            kept += [*self._blank, one]
            self._blank = []
        return kept


def drawn(answer: str) -> list[RenderableType]:
    """Draws an answer that is complete: its thoughts dim, the rest as Markdown."""
    split = Thoughts()
    rows: list[RenderableType] = []
    for thought, text in [*split.feed(visible(answer)), *split.rest()]:
        if not text.strip():
            continue
        if rows:
            rows.append(Text())
        lines = text.strip("\n").split("\n")
        rows += [literal(line, _THOUGHT) for line in lines] if thought else draw(text)
    return rows


def speedup(stats: Stats) -> str:
    """Returns the speed over plain decoding in words; "" while too few steps show it."""
    if stats.predicted_speedup is None or stats.steps < ENOUGH_STEPS:
        return ""
    return f"{stats.predicted_speedup:.2f}x plain decoding"


def summary(stats: Stats) -> str:
    """Describes an answer in one line."""
    line = f"{stats.tokens} tokens, {stats.tokens_per_second:.1f} tokens/s, MAT {stats.mat:.2f}"
    if faster := speedup(stats):
        line += f", {faster}"
    if stats.plain_because is not None:
        line += f" (plain: {stats.plain_because})"
    return line


def as_dict(
    answer: str, stats: Stats, interrupted: bool, sources: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Returns an answer and its figures, ready for JSON."""
    figures = {
        "prompt_tokens": stats.prompt_tokens,
        "tokens": stats.tokens,
        "steps": stats.steps,
        "drafted": stats.drafted,
        "accepted": stats.accepted,
        "mat": stats.mat,
        "seconds": stats.seconds,
        "tokens_per_second": stats.tokens_per_second,
        "predicted_speedup": stats.predicted_speedup,
        "plain_because": stats.plain_because,
    }
    return {"answer": answer, "interrupted": interrupted, "sources": sources, "stats": figures}
