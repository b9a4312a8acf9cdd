"""Ctrl-C, SIGTERM and SIGHUP: the first one ends what runs, in order; more of them do not disturb.

The first signal raises KeyboardInterrupt (Ctrl-C) or SystemExit with the shell's status (143, 129)
in the main thread. While that exception is on its way, and files are written and closed because of
it, further signals are only noted. The chat calls `handled` when it is ready for the next message.

Knows signals and frames. Does not know what runs.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it: 128 and the signal's number."""

_PATIENCE = 5.0
"""Seconds after which one more signal interrupts even what handles the first one."""

_AGAIN = 0.02
"""Seconds until a signal comes again that arrived where an exception would be lost."""

_SWALLOWING = frozenset(("llama_log_callback", "__del__"))
"""Functions whose exceptions Python prints and drops, because C code called them."""

_SHOW_CURSOR = "\x1b[?25h"

_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class _State:
    """What happened so far."""

    def __init__(self) -> None:
        self.since: float | None = None  # when the exception was raised that is on its way
        self.ended: int | None = None  # the exit status that SIGTERM or SIGHUP asked for
        self.held = False  # a section runs that must not be interrupted
        self.missed = False  # a signal came in such a section


_state = _State()


@contextmanager
def in_order() -> Iterator[None]:
    """Handle the three signals while the context is open, and ignore them afterwards.

    Only the process' own entry uses it, because the signals stay ignored until the process ends.
    """
    for number in (signal.SIGINT, *_ENDING):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a job in the background
            signal.signal(number, _arrived)
    try:
        yield
    finally:
        for number in (signal.SIGINT, *_ENDING):
            signal.signal(number, signal.SIG_IGN)
        if _state.since is not None:
            _show_cursor()


def status(otherwise: int) -> int:
    """The exit status: that of SIGTERM or SIGHUP if one came, else the given one."""
    return otherwise if _state.ended is None else _state.ended


def check() -> None:
    """Raise the exception of a signal again, if it was raised and some code dropped it."""
    if _state.since is not None:
        _raise()


def handled() -> None:
    """Say that an interruption is dealt with: the next Ctrl-C counts again.

    Raises:
        SystemExit: SIGTERM or SIGHUP came meanwhile.
    """
    _state.since = None
    if _state.ended is not None:
        _raise()


@contextmanager
def held() -> Iterator[None]:
    """Finish the block before a signal that comes in it takes effect.

    A signal that comes `_PATIENCE` seconds after another one interrupts it nevertheless.
    """
    outer, _state.held = _state.held, True
    try:
        yield
    finally:
        _state.held = outer
    if _state.missed and not outer:
        _state.missed = False
        _raise()


@contextmanager
def until_interrupted() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether one of the signals came, so that the caller can end.

    A second Ctrl-C raises KeyboardInterrupt at once.
    """
    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        if number != signal.SIGINT:
            _state.ended = _state.ended or 128 + number
        elif asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = [(number, signal.signal(number, ask)) for number in (signal.SIGINT, *_ENDING)]
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _arrived(number: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    if number != signal.SIGINT:
        _state.ended = _state.ended or 128 + number
    impatient = _state.since is not None and now - _state.since >= _PATIENCE
    if _state.held and not impatient:
        _state.missed = True
        _state.since = _state.since or now
        return
    if _state.since is not None and not impatient:
        return
    if _would_be_lost(frame):
        main = threading.main_thread().ident
        assert main is not None
        again = threading.Timer(_AGAIN, signal.pthread_kill, (main, number))
        again.daemon = True
        again.start()
        return
    _raise()


def _raise() -> None:
    _state.since = time.monotonic()
    if _state.ended is not None:
        raise SystemExit(_state.ended)
    raise KeyboardInterrupt


def _would_be_lost(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_name in _SWALLOWING:
            return True
        frame = frame.f_back
    return False


def _show_cursor() -> None:
    """An interruption may have come between hiding the cursor and noting that it is hidden."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream.isatty():
                stream.write(_SHOW_CURSOR)
                stream.flush()
                return
        except (OSError, ValueError):  # the terminal is gone
            continue
