"""What a model is called, and which of several files a name means.

Knows file names, the quantisations in them, and references to a repo on the hub. Touches neither
the disk nor the network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from aded_edge.errors import ModelError

HUB = "hf:"
"""Prefix of a reference to a repo on the hub."""

PREFERRED = ("Q4_K_M", "Q4_0")
"""Quantisations to choose when none is asked for. Without them, the smallest file is chosen."""

_LISTED = 12
"""Names in one line of an error; the others are counted."""

_REFERENCE = re.compile(r"hf:([\w.-]+/[\w.-]+)(?::(.+))?")
_PART = re.compile(r"-(\d{5})-of-(\d{5})(?=\.gguf$)", re.IGNORECASE)
_QUANTISATION = re.compile(
    r"(?<![a-z0-9])((?:ud-)?(?:i?q\d\w*|tq\d\w*|mxfp4\w*|bf16|fp?16|f32))(?=[-.])", re.IGNORECASE
)


@dataclass(frozen=True)
class Model:
    """A model on this machine."""

    name: str
    """A file name or `hf:owner/repo:what`, as `resolve` takes it, and so every command does."""
    files: tuple[Path, ...]
    """All of its files; the one to load comes first."""
    size: int
    """Bytes on the disk. Content that two of the files share counts once."""
    repo: str | None
    """The repo on the hub that it came from; None if it is in the models folder."""

    @property
    def path(self) -> Path:
        """The file to load; llama.cpp finds the other parts beside it."""
        return self.files[0]


class Weights(NamedTuple):
    """One model among the files of a repo or a folder: one file, or all parts of a split one."""

    parts: tuple[str, ...]
    """File names, in order."""
    size: int
    """Bytes of all parts."""

    @property
    def name(self) -> str:
        """The name of the file to load."""
        return self.parts[0]


class Reference(NamedTuple):
    """A repo on the hub, and which of its models is meant."""

    repo: str
    what: str | None
    """A file name or a quantisation; None for the preferred model."""

    def __str__(self) -> str:
        return f"{HUB}{self.repo}" if self.what is None else f"{HUB}{self.repo}:{self.what}"

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Parse `hf:owner/repo` or `hf:owner/repo:what`.

        Raises:
            ModelError: `text` has neither form.
        """
        match = _REFERENCE.fullmatch(text)
        if match is None:
            raise ModelError(
                f"{text!r} names no repo on a hub; write hf:owner/repo, hf:owner/repo:Q4_K_M or "
                "hf:owner/repo:file.gguf"
            )
        return cls(match[1], match[2])


def whole_models(sizes: Mapping[str, int]) -> list[Weights]:
    """Group files into models, sorted by name.

    Skips multimodal projectors, importance matrices, and split models with a missing part.

    Args:
        sizes: bytes by file name; files that are not GGUF are skipped.
    """
    groups: dict[str, list[str]] = {}
    for name in sorted(filter(_is_model, sizes)):
        groups.setdefault(_PART.sub(r"-of-\2", name), []).append(name)
    models = []
    for parts in groups.values():
        split = _PART.search(parts[0])
        if split is None or len(parts) == int(split[2]):
            models.append(Weights(tuple(parts), sum(sizes[part] for part in parts)))
    return models


def _is_model(name: str) -> bool:
    file = PurePosixPath(name).name.lower()
    # Skip multimodal projectors (mmproj) and importance matrices (imatrix): they are no models.
    return file.endswith(".gguf") and "mmproj" not in file and not file.startswith("imatrix")


def matching(models: Sequence[Weights], what: str | None) -> list[Weights]:
    """Find the models of a repo that a reference means.

    Args:
        models: all models of the repo.
        what: a file name or a quantisation, in any case; None for the preferred model.

    Returns:
        No model, one, or several if `what` fits several equally well.
    """
    if what is None:
        for preferred in PREFERRED:
            if found := matching(models, preferred):
                return found
        return sorted(models, key=lambda model: model.size)[:1]
    wanted = what.lower()
    named = [
        model
        for model in models
        if any(wanted in (part.lower(), PurePosixPath(part).name.lower()) for part in model.parts)
    ]
    # A whole word only: Q4_K must not find Q4_K_M, nor Q4_0 find IQ4_0.
    token = re.compile(rf"(?<![a-z0-9]){re.escape(what)}(?![a-z0-9_])", re.IGNORECASE)
    return named or [model for model in models if token.search(model.name)]


def single(found: Sequence[Weights], reference: Reference) -> Weights:
    """Return the only model in `found`.

    Args:
        found: one or more models, from `matching`.
        reference: for the message.

    Raises:
        ModelError: there are several.
    """
    if len(found) > 1:
        names = shortened([model.name for model in found])
        raise ModelError(
            f"{reference} means several files: {names}; name one as hf:{reference.repo}:FILE"
        )
    return found[0]


def quantisation(name: str) -> str | None:
    """Return the quantisation in a file's name, None if it has none."""
    found = _QUANTISATION.findall(PurePosixPath(name).name)
    return str(found[-1]) if found else None


def label(model: Weights, models: Sequence[Weights]) -> str:
    """Return the shortest `what` that means this model and no other in `models`."""
    short = quantisation(model.name)
    return short if short and matching(models, short) == [model] else model.name


def named(name: str, files: Sequence[str]) -> list[str]:
    """Find the files that a name means.

    Args:
        name: a file name, in any case, with or without `.gguf`, or the beginning of one.
        files: file names to choose from.

    Returns:
        The file with exactly this name, else those that differ only in case, else those whose
        names begin with it.
    """
    wanted = name.lower()
    for fits in (
        lambda file: file in (name, f"{name}.gguf"),
        lambda file: file.lower() in (wanted, f"{wanted}.gguf"),
        lambda file: file.lower().startswith(wanted),
    ):
        if found := [file for file in files if fits(file)]:
            return found
    return []


def shortened(names: Sequence[str]) -> str:
    """Join names for one line of an error."""
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")
