"""The first code that runs in a process: its standard streams, signals, and last errors.

It imports the commands only when signals are handled, because that takes a second.

Knows streams and exit statuses. Does not know a command.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from . import signals


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `aded-edge`."""
    sys.exit(_run("main", "cli", arguments))


def main_chat(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `aded-edge-chat` and of `python -m aded_edge.chat`."""
    sys.exit(_run("chat.command", "chat", arguments))


def _run(module: str, command: str, arguments: Sequence[str] | None) -> int:
    status = signals.INTERRUPTED
    try:
        with signals.in_order():
            open_streams()
            from importlib import import_module

            from .main import guarded

            status = guarded(getattr(import_module(f".{module}", __package__), command), arguments)
    except KeyboardInterrupt:
        pass
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except RuntimeError:
        if os.path.expanduser("~") != "~":
            raise
        print("aded-edge: this user has no home folder; set HOME to a folder", file=sys.stderr)
        status = 1
    _flush()
    return signals.status(status)


def open_streams() -> None:
    """Put the null device in the place of standard streams that are closed.

    Otherwise the next file that is opened gets the number of such a stream, and what is printed
    goes into it. A character that a stream's encoding lacks becomes "?" instead of an error.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _flush() -> None:
    """Write what is buffered; if that fails, keep Python from trying again and complaining."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, stream.fileno())
                os.close(null)
