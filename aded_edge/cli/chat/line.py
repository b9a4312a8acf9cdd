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

from aded_edge.shown import visible

if TYPE_CHECKING:
    from prompt_toolkit.key_binding import KeyBindings

_DIRECTIONS = (*range(0x2028, 0x202F), *range(0x2066, 0x2070))
"""Characters that change the direction of writing, or separate lines."""

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
        sys.stderr.write(prompt)  # stdout carries answers only
        sys.stderr.flush()
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
        from prompt_toolkit.layout.screen import Char
        from prompt_toolkit.styles import Style

        # What is edited may hold what a terminal obeys. prompt_toolkit knows control characters.
        Char.display_mappings.update((c, visible(c)) for c in map(chr, _DIRECTIONS))
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
    from prompt_toolkit.application import get_app
    from prompt_toolkit.document import Document
    from prompt_toolkit.enums import DEFAULT_BUFFER
    from prompt_toolkit.filters import Condition, has_focus
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    buffer_is_empty = Condition(lambda: not get_app().current_buffer.text)
    keys = KeyBindings()

    @keys.add("enter")
    def _send(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.current_line_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.newline(copy_margin=False)
        else:
            buffer.validate_and_handle()

    # The text can be taken back by Ctrl-_. On an empty line Ctrl-C leaves, as without this.
    @keys.add("c-c", filter=has_focus(DEFAULT_BUFFER) & ~buffer_is_empty)
    def _clear(event: KeyPressEvent) -> None:
        event.current_buffer.document = Document()

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
