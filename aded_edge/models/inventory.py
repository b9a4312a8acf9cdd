"""All models on this machine: list them, remove them.

Knows the two places where they are: the models folder and the hub's cache. Does not download.
"""

from __future__ import annotations

import os
from pathlib import Path

from aded_edge.errors import ModelError

from .cache import (
    cached_models,
    cached_repos,
    hub_cache,
    partial_downloads,
    remove_cached,
)
from .folder import delete_file, folder_models, models_folder, unknown_name
from .names import HUB, Model, Reference, matching, single


def all_models() -> list[Model]:
    """List all models in the models folder and in the hub's cache."""
    cached = [model for repo in cached_repos() for model in cached_models(repo).values()]
    return folder_models() + cached


def removable(reference: str | os.PathLike[str]) -> list[Model]:
    """Find the models that a reference means, for `remove`.

    Args:
        reference: as for `resolve`, but a name must be whole. `hf:owner/repo` means all models of
            the repo, or what interrupted downloads left of it.

    Raises:
        ModelError: there is no such model, or it is neither in the models folder nor in the hub's
            cache.
    """
    text = os.path.expanduser(os.fspath(reference))
    if text.startswith(HUB):
        return _removable_from_hub(Reference.parse(text))
    known = all_models()
    # Only the folder's links are resolved: a link to a model is not the model.
    place = _place(Path(text).absolute())
    for model in known:
        if place in map(_place, model.files):
            return [model]
    if Path(text).name != text or (os.path.exists(text) and not os.path.isdir(text)):
        raise ModelError(
            f"{text} is neither in {models_folder()} nor in the hub's cache, {hub_cache()}; only "
            "models there are removed"
        )
    found = [model for model in known if model.name in (text, f"{text}.gguf")]
    if not found:
        raise unknown_name(text)
    return found


def _place(path: Path) -> Path:
    return path.parent.resolve() / path.name


def _removable_from_hub(reference: Reference) -> list[Model]:
    repo, what = reference
    cached = cached_models(repo)
    found = list(cached.values())
    if what is not None:
        matches = matching(list(cached), what)
        found = [cached[single(matches, reference)]] if matches else []
    elif not found and (partials := partial_downloads(repo)):
        size = sum(path.stat().st_size for path in partials)
        found = [Model(str(reference), partials, size, repo)]
    if not found:
        raise ModelError(
            f"nothing of {reference} is cached in {hub_cache()}; 'aded-edge models list' shows "
            "what there is"
        )
    return found


def remove(model: Model) -> int:
    """Remove a model's files; with the last model of a cached repo, the repo's folder.

    Args:
        model: from `all_models` or `removable`.

    Returns:
        The bytes freed. Content that another revision shares stays and is not counted.

    Raises:
        ModelError: a file cannot be removed.
    """
    try:
        freed = remove_cached(model) if model.repo else sum(map(delete_file, model.files))
    except OSError as error:
        raise _not_removed(model, error.strerror or str(error)) from error
    if any(map(os.path.lexists, model.files)):  # huggingface_hub logs a warning and goes on
        raise _not_removed(model, "not permitted")
    return freed


def _not_removed(model: Model, reason: str) -> ModelError:
    return ModelError(
        f"cannot remove {model.path}: {reason}; check who owns it and whether a program has it open"
    )
