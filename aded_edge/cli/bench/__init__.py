"""`bench`: the commands that measure, one file each."""

from __future__ import annotations

import click

from ..options import Group
from .month import month
from .picture import picture
from .record import record
from .replay import replay
from .speed import speed


class _SpeedByDefault(Group):
    """`bench MODEL` means `bench speed MODEL`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["speed", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_SpeedByDefault)
def bench() -> None:
    """Measure: speed with the model, or drafts without it.

    bench MODEL is short for bench speed MODEL.
    """


for command in (month, picture, record, replay, speed):
    bench.add_command(command)
