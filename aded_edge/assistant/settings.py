"""The user's config file: defaults of the chat, and named personas.

A TOML file in the platform's folder for settings:

    [defaults]
    model = "qwen2.5-coder-1.5b"
    temperature = 0.2

    [personas.editor]
    system = "You improve texts and say what you changed."
    temperature = 0.0

Knows the file, its tables and the names of options. Does not know what an option does; whoever
reads the command line says what its value may be.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from aded_edge.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SAMPLING = ("temperature", "top_p", "top_k", "min_p", "seed", "max_tokens")
"""Options that say how an answer is sampled."""

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
    "drafting": str,
    "store": str,
    "overflow": str,
    "memory_tokens": int,
    "think": str,
    "plain": bool,
    "no_log": bool,
}
"""What a table may hold, and of what type."""


@dataclass(frozen=True)
class Persona:
    """A named set of options: who answers, as what, and how it is sampled."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def system(self) -> str:
        """The system message, "" for none."""
        return str(self.options.get("system", ""))

    @property
    def sampling(self) -> dict[str, Any]:
        """How answers are sampled, as far as the persona says."""
        return {name: self.options[name] for name in SAMPLING if name in self.options}


@dataclass(frozen=True)
class Settings:
    """What the config file says."""

    defaults: Mapping[str, Any] = field(default_factory=dict)
    personas: Mapping[str, Persona] = field(default_factory=dict)

    def persona(self, name: str) -> Persona:
        """The persona of this name.

        Raises:
            ConfigError: there is none; the text names those that there are.
        """
        if name in self.personas:
            return self.personas[name]
        known = ", ".join(self.personas) or "none yet"
        raise ConfigError(
            f"no persona {name!r} (known: {known}); add [personas.{name}] to {settings_path()}"
        )


def settings_path() -> Path:
    """Where the config file lies."""
    return Path(platformdirs.user_config_dir("aded-edge", appauthor=False)) / "config.toml"


def load_settings(path: Path | None = None) -> Settings:
    """Reads the config file; one that does not exist says nothing.

    Args:
        path: of another file, which must exist.

    Raises:
        ConfigError: the file cannot be read, is no TOML, or has an entry that is unknown.
    """
    file = path or settings_path()
    if path is None and not file.exists():
        return Settings()
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file} cannot be read ({error.strerror}); check its path") from error
    except ValueError as error:  # of TOML and of UTF-8
        raise ConfigError(f"{file} is no TOML ({error}); correct that line") from error
    _known(file, data, ("defaults", "personas"), "table")
    personas = _table(file, data, "personas")
    return Settings(
        _options(file, _table(file, data, "defaults"), "defaults"),
        {
            name: Persona(name, _options(file, _table(file, personas, name), f"personas.{name}"))
            for name in personas
        },
    )


def _table(file: Path, data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = data.get(name, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{file}: {name} must be a table, like [{name}]")
    return table


def _options(file: Path, table: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    _known(file, table, tuple(OPTIONS), f"option in [{where}]")
    for name, value in table.items():
        kind = OPTIONS[name]
        right = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        if not right:
            first = kind[0] if isinstance(kind, tuple) else kind
            raise ConfigError(f"{file}: [{where}] {name} = {value!r} must be a {first.__name__}")
    return table


def _known(file: Path, given: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise ConfigError(f"{file}: no {what} is called {name!r}; {hint}")
