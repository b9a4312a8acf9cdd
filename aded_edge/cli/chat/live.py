"""Rows at the bottom of a terminal that are drawn anew while a text grows.

What is final is printed above them, once. Rows that do not fit into the window are left out at the
top, so that the newest are seen.

Knows a terminal. Does not know what is drawn.
"""

from __future__ import annotations

import signal
import sys
import termios
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.segment import SegmentLines


class LiveRows:
    """The rows that are drawn anew.

    Keys are not echoed meanwhile: an echoed ^C or newline would move the rows.

    Args:
        console: the console of the terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._echo: tuple[int, list[Any]] | None = None

    def show(self, final: Sequence[RenderableType], growing: Sequence[RenderableType]) -> None:
        """Prints what is final, and draws below it what grows, in the place of what grew before."""
        console = self._console
        with _in_one_go(), console:
            if self._live is None:
                self._silence()
                self._live = Live(console=console, auto_refresh=False, transient=True)
                self._live.start()
            rows = console.render_lines(
                Group(*growing), console.options.update(height=None), pad=False
            )
            most = max(console.height - 1, 1)
            self._live.update(SegmentLines(rows[-most:], new_lines=True), refresh=True)
            if final:
                console.print(Group(*final))

    def end(self, final: Sequence[RenderableType]) -> None:
        """Removes the rows, and prints what is final."""
        with _in_one_go():
            with self._console:
                if self._live is not None:
                    self._live.update("", refresh=True)
                    self._live.stop()
                    self._live = None
                if final:
                    self._console.print(Group(*final))
            self._speak()

    def _silence(self) -> None:
        with suppress(OSError, ValueError, termios.error):  # not a terminal
            keyboard = sys.stdin.fileno()
            before = termios.tcgetattr(keyboard)
            silent = [*before]
            silent[3] &= ~termios.ECHO
            termios.tcsetattr(keyboard, termios.TCSANOW, silent)
            self._echo = keyboard, before

    def _speak(self) -> None:
        if self._echo is not None:
            with suppress(OSError, termios.error):
                termios.tcsetattr(self._echo[0], termios.TCSANOW, self._echo[1])
            self._echo = None


@contextmanager
def _in_one_go() -> Iterator[None]:
    """Lets Ctrl-C wait until the end: rows that are half drawn would stay and be drawn again."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    pressed: list[Any] = []
    signal.signal(signal.SIGINT, lambda _, frame: pressed.append(frame))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if pressed:
            before(signal.SIGINT, pressed[-1])
