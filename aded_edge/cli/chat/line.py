"""Reads what the user types, one message at a time.

On a terminal, prompt_toolkit reads it: with earlier questions in its history (Ctrl-R searches
it), completion of commands, pastes of many lines, and further lines after Esc Enter or a backslash
at the end of a line. Elsewhere `input` reads it.

What is typed is kept nowhere but in the store, as the question that it is. So what is deleted there
is gone here too.

Knows keys. Does not know what a message means, nor where earlier questions come from.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import click

if TYPE_CHECKING:
    from prompt_toolkit.key_binding import KeyBindings

RULE = "Enter sends; Esc Enter, or a backslash at the end of a line, begins another line"


class Line(Protocol):
    """A source of messages."""

    def read(self) -> str:
        """Reads the next message.

        Raises:
            EOFError, KeyboardInterrupt: the user leaves.
        """
        ...

    def edit(self, text: str) -> str:
        """Lets the user change a message, and returns the changed one.

        Raises:
            EOFError, KeyboardInterrupt: the user leaves.
        """
        ...


class SimpleLine:
    """Reads from a pipe, or from a terminal without cursor control."""

    def read(self) -> str:
        """Reads one line, and a further one after each backslash at the end of a line."""
        lines = [self._line("> ")]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1]
            lines.append(self._line(". "))
        return "\n".join(lines)

    def edit(self, text: str) -> str:
        """Reads the changed message anew, because the old one cannot be edited here."""
        return self.read()

    def _line(self, prompt: str) -> str:
        if sys.stdout.isatty():
            return input(prompt)
        click.echo(prompt, nl=False, err=True)  # stdout carries answers only
        return input()


class PromptLine:
    """Reads from a terminal by prompt_toolkit.

    Args:
        commands: name and description of each command.
        history: earlier messages, oldest first.
        status: returns the text of the line at the bottom of the screen.
    """

    def __init__(
        self,
        commands: Iterable[tuple[str, str]],
        history: Sequence[str],
        status: Callable[[], str],
    ) -> None:
        # Imported here because a pipe does not need it and it takes half a second.
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import WordCompleter
        from prompt_toolkit.filters import Condition
        from prompt_toolkit.history import InMemoryHistory
        from prompt_toolkit.styles import Style

        about = dict(commands)
        names = [f"/{name}" for name in about]
        meta = {f"/{name}": text for name, text in about.items()}
        self._session: PromptSession[str] = PromptSession(
            "> ",
            multiline=True,
            key_bindings=_keys(),
            prompt_continuation=". ",
            history=InMemoryHistory(history),
            completer=WordCompleter(names, meta_dict=meta, sentence=True),
            complete_while_typing=Condition(self._begins_a_command),
            bottom_toolbar=status,
            style=Style.from_dict({"bottom-toolbar": "noreverse fg:ansibrightblack"}),
        )

    def read(self) -> str:
        """Reads a message of one line or several."""
        return self._session.prompt()

    def edit(self, text: str) -> str:
        """Lets the user change a message on the line."""
        return self._session.prompt(default=text)

    def _begins_a_command(self) -> bool:
        return self._session.default_buffer.text.startswith("/")


def _keys() -> KeyBindings:
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    keys = KeyBindings()

    @keys.add("enter")
    def _send(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.current_line_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.newline(copy_margin=False)
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _newline(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    return keys


def open_line(
    commands: Iterable[tuple[str, str]], history: Sequence[str], status: Callable[[], str]
) -> Line:
    """Opens a `PromptLine` on a capable terminal, and a `SimpleLine` elsewhere."""
    real = sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    if not real:
        return SimpleLine()
    return PromptLine(commands, history, status)
