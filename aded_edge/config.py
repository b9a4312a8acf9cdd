"""The options of aded-edge, validated once.

Knows names, choices and defaults. Does not know what they do.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args

from .errors import ConfigError

Drafting = Literal["auto", "off", "paper"]
"""auto: draft what pays. off: plain decoding. paper: ADED as published, whatever it costs."""

DRAFTING: tuple[Drafting, ...] = get_args(Drafting)

StoreChoice = str | os.PathLike[str] | None
"""Where the matrix is kept: "default", the path of a file, or None for nowhere."""


def check_drafting(value: object) -> Drafting:
    """The value, if it is one of the choices.

    Raises:
        ConfigError: it is not; the text names the choices.
    """
    for choice in DRAFTING:
        if value == choice:
            return choice
    choices = ", ".join(map(repr, DRAFTING))
    raise ConfigError(f"drafting={value!r} is not known; choose one of {choices}")


def check_store(value: StoreChoice, default: Path) -> Path | None:
    """The file that `value` means, None for no store.

    Raises:
        ConfigError: it is neither "default", a path, nor None.
    """
    if value is None:
        return None
    if not isinstance(value, str | os.PathLike):
        raise ConfigError(f"store={value!r} is neither a path, nor 'default', nor None")
    return default if value == "default" else Path(value).expanduser()


def check_names(given: Iterable[str], known: Iterable[str]) -> None:
    """Every given keyword argument is a known one.

    Raises:
        ConfigError: one is not; the text names the nearest.
    """
    choices = sorted(known)
    for name in given:
        if name not in choices:
            near = difflib.get_close_matches(name, choices, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"Llama() has no argument {name!r}{hint}")
