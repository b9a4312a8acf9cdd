"""The user's config file: defaults of the commands, and named personas.

It is a TOML file in the platform's folder for settings:

    [defaults]
    model = "qwen2.5-coder-1.5b"
    temperature = 0.2

    [personas.editor]
    system = "You improve texts and say what you changed."
    temperature = 0.0

`model` and `store` of [defaults] apply to every command except `bench replay`, the other options to
the chat. The chat takes all options of its persona; `Assistant` takes the persona's `model`,
`system` and sampling options, and never reads [defaults].

Knows the file, its tables, and the names and types of options. Does not know what an option does,
nor its range: the command line checks that.
"""

from __future__ import annotations

import codecs
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from aded_edge import private
from aded_edge.errors import ConfigError, did_you_mean

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SAMPLING = ("temperature", "top_p", "top_k", "min_p", "seed", "max_tokens")
"""The options that control how an answer is sampled."""

OPTIONS: Mapping[str, type | tuple[type, ...]] = {
    "model": str,
    "system": str,
    "temperature": (float, int),
    "top_p": (float, int),
    "top_k": int,
    "min_p": (float, int),
    "seed": int,
    "max_tokens": int,
    "ctx": int,
    "threads": int,
    "gpu_layers": int,
    "rpc": str,
    "drafting": str,
    "exact": bool,
    "store": str,
    "overflow": str,
    "memory_tokens": int,
    "think": str,
    "plain": bool,
    "no_log": bool,
}
"""The options that [defaults] or a persona may contain, and their types."""


_KINDS = {str: "text in quotes", float: "a number", int: "a whole number", bool: "true or false"}

_MOST_BYTES = 1 << 20
"""A larger file is no config file."""


@dataclass(frozen=True)
class Persona:
    """A named set of options of the chat.

    Attributes:
        name: its name in the config file.
        options: option -> value; the names are those in OPTIONS.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def system(self) -> str:
        """The system message, "" for none."""
        return str(self.options.get("system", ""))

    @property
    def sampling(self) -> dict[str, Any]:
        """The options in SAMPLING that the persona sets."""
        return {name: self.options[name] for name in SAMPLING if name in self.options}


@dataclass(frozen=True)
class Settings:
    """The content of the config file.

    Attributes:
        defaults: option -> value.
        personas: name -> persona.
    """

    defaults: Mapping[str, Any] = field(default_factory=dict)
    personas: Mapping[str, Persona] = field(default_factory=dict)

    def persona(self, name: str) -> Persona:
        """The persona with this name.

        Raises:
            ConfigError: there is none; the message names the known personas.
        """
        if name in self.personas:
            return self.personas[name]
        known = ", ".join(self.personas) or "none yet"
        raise ConfigError(
            f"no persona {name!r} (known: {known}); add [personas.{name}] to {settings_path()}"
        )


def settings_path() -> Path:
    """The path of the config file."""
    return Path(platformdirs.user_config_dir("aded-edge", appauthor=False)) / "config.toml"


def load_settings(path: Path | None = None) -> Settings:
    """Read the config file; without one, the settings are empty.

    Args:
        path: another file, which must exist; None for `settings_path()`.

    Raises:
        ConfigError: the file cannot be read, is no TOML, or has an unknown entry or a value of
            the wrong type.
    """
    file = path or settings_path()
    try:
        if path is None and not file.exists():
            return Settings()
        if path is None and not file.parent.is_symlink():
            private.tighten(file.parent)
        with file.open("rb") as opened:
            content = opened.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read ({error.strerror}); check its path") from error
    if len(content) > _MOST_BYTES:
        raise ConfigError(f"{file} is larger than {_MOST_BYTES >> 20} MB; give a TOML file")
    try:
        data = tomllib.loads(_decoded(content))
    except (ValueError, RecursionError) as error:  # invalid TOML or text, or nested too deep
        raise ConfigError(f"{file} is not valid TOML ({error}); correct that line") from error
    _check_names(file, data, ("defaults", "personas"), "table")
    personas = _table(file, data, "personas")
    return Settings(
        _options(file, _table(file, data, "defaults"), "defaults"),
        {
            name: Persona(
                name, _options(file, _table(file, personas, "personas", name), f"personas.{name}")
            )
            for name in personas
        },
    )


def _decoded(content: bytes) -> str:
    """The text of a file; editors and shells of Windows write a byte order mark, or UTF-16."""
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if utf16 else "utf-8-sig").replace("\r\n", "\n")


def _table(file: Path, data: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    table = data.get(names[-1], {})
    if not isinstance(table, dict):
        name = ".".join(names)
        raise ConfigError(f"{file}: {name} = {table!r} must be a table, like [{name}]")
    return table


def _options(file: Path, table: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    _check_names(file, table, tuple(OPTIONS), f"option in [{where}]")
    for name, value in table.items():
        kind = OPTIONS[name]
        right = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        if isinstance(value, float):
            right = right and math.isfinite(value)
        if isinstance(value, str):
            right = right and "\0" not in value
        if not right:
            first = kind[0] if isinstance(kind, tuple) else kind
            raise ConfigError(f"{file}: [{where}] {name} = {value!r} must be {_KINDS[first]}")
    return table


def _check_names(file: Path, given: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known, f"known: {', '.join(known)}")
            raise ConfigError(f"{file}: no {what} is called {name!r}; {hint}")
