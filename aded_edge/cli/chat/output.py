"""What the chat prints: answers as they come, and dim lines about them.

On a terminal an answer is Markdown, block by block: what is finished is printed for good, the
block that grows is drawn anew a few times a second. Elsewhere it is the model's text and nothing
else. Everything about an answer goes to stderr.

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

Think = Literal["dim", "hide"]
"""What becomes of the model's reasoning between <think> and </think> on a terminal."""

_REDRAW = 0.12
"""Seconds between two drawings of a block: llama.cpp's threads wait meanwhile."""

_TAGS = ("<think>", "</think>")


class Printer(Protocol):
    """Where an answer goes, piece by piece."""

    def feed(self, piece: str) -> None:
        """The next piece of the answer."""
        ...

    def end(self) -> None:
        """The answer has ended, or was stopped."""
        ...


class PlainPrinter:
    """The text as it comes, for pipes and terminals that can show no more.

    Args:
        thoughts: whether what is reasoned is printed too.
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

    def _print(self, parts: Iterable[tuple[bool, str]]) -> None:
        for thought, text in parts:
            if not thought:
                click.echo(text, nl=False)


class MarkdownPrinter:
    """Markdown on a terminal."""

    def __init__(self, console: Console, think: Think) -> None:
        self._console = console
        self._think = think
        self._split = Thoughts()
        self._block = ""
        self._live: Live | None = None
        self._drawn = 0.0

    def feed(self, piece: str) -> None:
        """Draws the growing block, and prints for good what is finished."""
        for thought, text in self._split.feed(piece):
            self._add(thought, text)

    def end(self) -> None:
        """Prints what is left."""
        for thought, text in self._split.rest():
            self._add(thought, text)
        self._finish(self._block)
        self._block = ""

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
    """Splits a stream into what is said and what is reasoned; tags may come in pieces."""

    def __init__(self) -> None:
        self._held = ""
        self._thinking = False

    def feed(self, piece: str) -> Iterator[tuple[bool, str]]:
        """(is it a thought, text) for all that can be told by now."""
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
        """What was held back, because it might have become a tag."""
        held, self._held = self._held, ""
        if held:
            yield self._thinking, held


def _begun(text: str, tag: str) -> int:
    """How much of the end of a text may be the beginning of a tag."""
    return next((n for n in range(len(tag) - 1, 0, -1) if text.endswith(tag[:n])), 0)


def split_blocks(text: str) -> tuple[str, str]:
    """The blocks of Markdown that are finished, and the one that still grows."""
    end, fence = 0, ""
    for line in re.finditer(r"[^\n]*\n", text):
        marks = re.match(r"\s{0,3}(`{3,}|~{3,})", line.group())
        if marks and (not fence or marks[1].startswith(fence)):
            fence = "" if fence else marks[1]
        if not fence and not line.group().strip() and _begins_anew(text[line.end() :]):
            end = line.end()
    return text[:end], text[end:]


def _begins_anew(rest: str) -> bool:
    """Whether a block begins here. A list that goes on must not begin to count anew."""
    goes_on = re.match(r"[-*+] |\d+[.)] ", rest) or re.fullmatch(r"[-*+\d.)]{1,3}", rest)
    return bool(re.match(r"\S", rest)) and not goes_on


def summary(stats: Stats) -> str:
    """One line about an answer."""
    line = f"{stats.tokens} tokens, {stats.tokens_per_second:.1f} tokens/s, MAT {stats.mat:.2f}"
    if stats.predicted_speedup is not None:
        line += f", {stats.predicted_speedup:.2f}x plain decoding"
    if stats.plain_because is not None:
        line += f" (plain: {stats.plain_because})"
    return line


def as_json(answer: str, stats: Stats, interrupted: bool, sources: tuple[str, ...] = ()) -> str:
    """One answer as a line of JSON."""
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
