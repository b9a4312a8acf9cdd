"""`python -m aded_edge COMMAND`: the group of all commands, and how errors are reported.

Each command is a file of this folder, or a folder (`bench`, `chat`), with its options and its body.
To add one, write the file and add a line to COMMANDS.

Knows names, exit statuses and how an error is printed. Does not know what a command does.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from aded_edge.errors import AdedError

from .options import Group

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
}
"""Name of a command -> the module of this folder that defines it by this name."""


@click.group(cls=Group, modules=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="aded-edge", message="%(version)s")
def cli() -> None:
    """A local GGUF model answers faster and says the same.

    To chat with a model: python -m aded_edge chat MODEL
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `aded-edge`."""
    sys.exit(guarded(cli, arguments))


def main_chat(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `aded-edge-chat` and of `python -m aded_edge.chat`."""
    from .chat.command import chat

    sys.exit(guarded(chat, arguments))


def guarded(command: click.Command, arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status. A user's error is printed as one line."""
    try:
        status = command.main(arguments, standalone_mode=False)
    except AdedError as error:
        click.echo(f"aded-edge: {error}", err=True)
        return 1
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    return status if isinstance(status, int) else 0
