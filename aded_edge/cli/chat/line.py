"""What the user types: one message at a time.

On a terminal by prompt_toolkit: history across runs (Ctrl-R searches it), completion of
commands, pastes of many lines, and more lines by Esc Enter or a backslash at the end of one.
Elsewhere by `input`.

Knows keys and files of history. Does not know what a message means.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click

if TYPE_CHECKING:
    from prompt_toolkit.key_binding import KeyBindings

RULE = "Enter sends; Esc Enter, or a backslash at the end of a line, begins another line"


class Line(Protocol):
    """Where messages come from."""

    def read(self, default: str = "") -> str:
        """The next message; `default` can be changed first.

        Raises:
            EOFError, KeyboardInterrupt: the user leaves.
        """
        ...


class SimpleLine:
    """A line of a pipe or of a terminal that can do no more."""

    def read(self, default: str = "") -> str:
        """One line, and those that a backslash adds."""
        lines = [self._line("> ")]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1]
            lines.append(self._line(". "))
        return "\n".join(lines)

    def _line(self, prompt: str) -> str:
        if sys.stdout.isatty():
            return input(prompt)
        click.echo(prompt, nl=False, err=True)  # stdout holds answers and nothing else
        return input()


class PromptLine:
    """A line of a real terminal.

    Args:
        commands: (name, what it does) of all commands.
        history: where earlier messages are kept, None for nowhere.
        status: gives the text of the line at the bottom.
    """

    def __init__(
        self,
        commands: Iterable[tuple[str, str]],
        history: Path | None,
        status: Callable[[], str],
    ) -> None:
        # Half a second of imports that a pipe does not need.
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import WordCompleter
        from prompt_toolkit.filters import Condition
        from prompt_toolkit.history import FileHistory, InMemoryHistory
        from prompt_toolkit.styles import Style

        about = dict(commands)
        names = [f"/{name}" for name in about]
        meta = {f"/{name}": text for name, text in about.items()}
        kept = InMemoryHistory() if history is None else FileHistory(str(history))
        self._session: PromptSession[str] = PromptSession(
            "> ",
            multiline=True,
            key_bindings=_keys(),
            prompt_continuation=". ",
            history=kept,
            completer=WordCompleter(names, meta_dict=meta, sentence=True),
            complete_while_typing=Condition(self._begins_a_command),
            bottom_toolbar=status,
            style=Style.from_dict({"bottom-toolbar": "noreverse fg:ansibrightblack"}),
        )

    def read(self, default: str = "") -> str:
        """A message, of as many lines as it has."""
        return self._session.prompt(default=default)

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
    commands: Iterable[tuple[str, str]], history: Path | None, status: Callable[[], str]
) -> Line:
    """The best line that this terminal can have."""
    real = sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    if not real:
        return SimpleLine()
    if history is not None:
        try:
            history.parent.mkdir(parents=True, exist_ok=True)
            history.touch(mode=0o600)
        except OSError:
            history = None  # a disk that cannot be written stops no chat
    return PromptLine(commands, history, status)
