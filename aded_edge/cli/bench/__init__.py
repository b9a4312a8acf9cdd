"""`bench`: the commands that measure, one file each."""

from __future__ import annotations

import click

from ..options import Group

_NAMES = ("picture", "quarter", "record", "replay", "speed", "weeks")
COMMANDS = {name: f"bench.{name}" for name in _NAMES}
"""Name of a command -> its module. To add one, write the file and add its name."""


class _SpeedByDefault(Group):
    """`bench MODEL` means `bench speed MODEL`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*COMMANDS, *ctx.help_option_names):
            args = ["speed", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_SpeedByDefault, modules=COMMANDS)
def bench() -> None:
    """Measure: speed with the model, or drafts without it.

    bench MODEL is short for bench speed MODEL.
    """
