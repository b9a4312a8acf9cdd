"""`python -m aded_edge COMMAND`: the group of all commands, and how errors are reported.

Each command is a file of this folder, or a folder (`bench`, `chat`), with its options and its body.
To add one, write the file and add a line to COMMANDS.

Knows names, exit statuses and how an error is printed. Does not know what a command does.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress

import click

from aded_edge.errors import AdedError

from .options import Group
from .output import DimLogHandler, complain, complain_of_usage
from .signals import INTERRUPTED

COMMANDS = {
    "bench": "bench",
    "chat": "chat.command",
    "doctor": "doctor",
    "forget": "forget",
    "history": "history",
    "learn": "learn",
    "models": "models",
    "notes": "notes",
    "prime": "prime",
    "stats": "stats",
    "worker": "worker",
}
"""Name of a command -> the module of this folder that defines it by this name."""


@click.group(cls=Group, modules=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="aded-edge", message="%(version)s")
def cli() -> None:
    """A local GGUF model answers faster and says the same.

    To chat with a model: python -m aded_edge chat MODEL
    """


def guarded(command: click.Command, arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status. A user's error is printed as one line."""
    logging.getLogger("aded_edge").handlers = [DimLogHandler()]
    try:
        status = command.main(arguments, standalone_mode=False)
    except AdedError as error:
        return _refused(str(error))
    except click.ClickException as error:
        with suppress(OSError):
            complain_of_usage(error)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except OSError as error:  # a folder that may not be read, a full disk, a terminal that is gone
        place = error.filename or "standard input or output"
        return _refused(
            f"cannot use {place}: {error.strerror or error}; check that it exists, that you may "
            "use it, and that there is room"
        )
    except MemoryError:
        return _refused("there is not enough memory for this; ask for less, or use a smaller model")
    return status if isinstance(status, int) else 0


def _refused(line: str) -> int:
    with suppress(OSError):
        complain(line)
    return 1
