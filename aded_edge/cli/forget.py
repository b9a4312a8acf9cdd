"""`forget [NAME]`: delete what the matrix learned, of one model or of all.

Knows names and a question. Does not know what was learned, nor where it is kept.
"""

from __future__ import annotations

from pathlib import Path

import click

from aded_edge.errors import ConfigError
from aded_edge.shown import one_line
from aded_edge.store import REMNANTS

from .history import opened
from .options import STORE, Command
from .output import agreed, say


@click.command(cls=Command)
@click.argument("name", required=False)
@click.option("--yes", is_flag=True, help="Do not ask.")
@STORE
def forget(store: Path, name: str | None, yes: bool) -> None:
    """Delete what was learned about NAME, as `stats` shows it, or about every model.

    Conversations stay. This also removes what is merged and cannot be deleted by conversation.
    """
    with opened(store) as file:
        known = sorted({size.name for size in file.sizes()})
        if name is not None and name not in known:
            raise ConfigError(f"nothing was learned about {name!r}; known: {', '.join(known)}")
        if not yes:
            about = name or f"every model ({', '.join(known)})"
            agreed(f"Delete all that was learned about {about}?", abort=True)
        names, clean = file.forget_learned(name)
    for forgotten in names:
        say(one_line(f"deleted what was learned about {forgotten}"))
    if not clean:
        say(REMNANTS, err=True)
