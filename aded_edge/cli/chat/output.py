"""Prints answers while they are generated, and describes them.

On a terminal an answer is drawn as Markdown, block by block: a finished block is printed once, and
the growing block is redrawn a few times a second. Elsewhere the model's text is printed unchanged.

Knows terminals and Markdown. Does not know where an answer comes from.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator
from typing import Literal, Protocol

import click
from rich.console import Console
from rich.live import Live
from rich.markdown import Markdown
from rich.text import Text

from aded_edge.decode.stats import Stats

from ..output import dim

Think = Literal["dim", "hide"]
"""How reasoning between <think> and </think> is shown on a terminal."""

_REDRAW = 0.12
"""Seconds between two redraws of a block. llama.cpp waits while a block is drawn."""

ENOUGH_STEPS = 64
"""A ratio of times means little before so many steps."""

_TAGS = ("<think>", "</think>")


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
    """Prints the text unchanged, for pipes and for terminals without cursor control.

    Args:
        thoughts: print the model's reasoning too.
    """

    def __init__(self, thoughts: bool = True) -> None:
        self._thoughts = thoughts
        self._split = Thoughts()

    def feed(self, piece: str) -> None:
        """Prints it at once."""
        if self._thoughts:
            click.echo(piece, nl=False)
            return
        self._print(self._split.feed(piece))

    def end(self) -> None:
        """Ends the line."""
        if not self._thoughts:
            self._print(self._split.rest())
        click.echo()

    def remark(self, text: str) -> None:
        """Prints a dim line on stderr, and goes on with the answer below it."""
        click.echo(err=True)
        dim(text)

    def _print(self, parts: Iterable[tuple[bool, str]]) -> None:
        for thought, text in parts:
            if not thought:
                click.echo(text, nl=False)


class MarkdownPrinter:
    """Draws an answer as Markdown on a terminal.

    Args:
        console: rich's console for the terminal.
        think: how the model's reasoning is shown.
    """

    def __init__(self, console: Console, think: Think) -> None:
        self._console = console
        self._think = think
        self._split = Thoughts()
        self._block = ""
        self._live: Live | None = None
        self._drawn = 0.0

    def feed(self, piece: str) -> None:
        """Prints the blocks that are finished and redraws the one that grows."""
        for thought, text in self._split.feed(piece):
            self._add(thought, text)

    def end(self) -> None:
        """Prints the rest of the answer."""
        for thought, text in self._split.rest():
            self._add(thought, text)
        self._finish(self._block)
        self._block = ""

    def remark(self, text: str) -> None:
        """Prints a dim line above the block that grows."""
        self._console.print(Text(text, style="dim"))

    def _add(self, thought: bool, text: str) -> None:
        if thought:
            if self._think == "dim":
                self._finish(self._block)
                self._block = ""
                self._console.print(Text(text, style="dim italic"), end="")
            return
        self._block += text
        finished, self._block = split_blocks(self._block)
        if finished:
            self._finish(finished)
        self._draw()

    def _draw(self) -> None:
        now = time.monotonic()
        if now - self._drawn < _REDRAW or not self._block.strip():
            return
        self._drawn = now
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(Markdown(self._block), refresh=True)

    def _finish(self, block: str) -> None:
        if self._live is not None:
            self._live.update(Text(""), refresh=True)
            self._live.stop()
            self._live = None
        if block.strip():
            self._console.print(Markdown(block))


class Thoughts:
    """Splits a stream into answer and reasoning; a <think> tag may be cut between two pieces."""

    def __init__(self) -> None:
        self._held = ""
        self._thinking = False

    def feed(self, piece: str) -> Iterator[tuple[bool, str]]:
        """Yields (is it reasoning, text) for all text that cannot be part of a tag."""
        self._held += piece
        while True:
            tag = _TAGS[self._thinking]
            before, found, after = self._held.partition(tag)
            if not found:
                break
            if before:
                yield self._thinking, before
            self._held, self._thinking = after, not self._thinking
        kept = _begun(self._held, tag)
        text, self._held = (
            self._held[: len(self._held) - kept],
            self._held[len(self._held) - kept :],
        )
        if text:
            yield self._thinking, text

    def rest(self) -> Iterator[tuple[bool, str]]:
        """Yields the text that was held back because it could be the beginning of a tag."""
        held, self._held = self._held, ""
        if held:
            yield self._thinking, held


def _begun(text: str, tag: str) -> int:
    """Returns how many characters at the end of a text may be the beginning of a tag."""
    return next((n for n in range(len(tag) - 1, 0, -1) if text.endswith(tag[:n])), 0)


def split_blocks(text: str) -> tuple[str, str]:
    """Splits Markdown into its finished blocks and the block that still grows."""
    end, fence = 0, ""
    for line in re.finditer(r"[^\n]*\n", text):
        marks = re.match(r"\s{0,3}(`{3,}|~{3,})", line.group())
        if marks and (not fence or marks[1].startswith(fence)):
            fence = "" if fence else marks[1]
        if not fence and not line.group().strip() and _begins_anew(text[line.end() :]):
            end = line.end()
    return text[:end], text[end:]


def _begins_anew(rest: str) -> bool:
    """Whether a new block begins here. The next item of a list belongs to the list, or rich would
    number each item 1."""
    goes_on = re.match(r"[-*+] |\d+[.)] ", rest) or re.fullmatch(r"[-*+\d.)]{1,3}", rest)
    return bool(re.match(r"\S", rest)) and not goes_on


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


def as_json(answer: str, stats: Stats, interrupted: bool, sources: tuple[str, ...] = ()) -> str:
    """Returns an answer and its figures as a line of JSON."""
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
    result = {"answer": answer, "interrupted": interrupted, "sources": sources, "stats": figures}
    return json.dumps(result, ensure_ascii=False)
