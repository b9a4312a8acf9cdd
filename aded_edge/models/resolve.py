"""A path, a name or `hf:owner/repo` becomes the path of a GGUF file.

Knows the order of the places to look in, and when to download. Does not know what a GGUF file
holds. huggingface_hub is imported only for an `hf:` reference, because the import is slow.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from aded_edge.errors import ModelError

from .cache import cached_file
from .default import DEFAULT_MODEL, fetch_default_model
from .folder import find, models_folder, unknown_name
from .hub import HubUnreachable, fetch_file, offered
from .names import HUB, PREFERRED, Reference, single

log = logging.getLogger("aded_edge")


def resolve(reference: str | os.PathLike[str], *, fetch: bool = True) -> Path:
    """Find the file that a reference means; download it if it is missing.

    A file that is on this machine is used without asking the hub.

    Args:
        reference: the path of a file; `hf:owner/repo`, optionally with `:` and a file name or a
            quantisation; or the name of a file in the models folder, with or without `.gguf`, or
            a unique beginning of it.
        fetch: download a repo's file or the default model if it is missing.

    Raises:
        ModelError: no model or several models fit, or `fetch` is off and the file is missing.
        ModelFetchError: the download failed.
    """
    return _find(reference, fetch=fetch, newest=False)


def fetch(reference: str | os.PathLike[str]) -> Path:
    """Like `resolve`, but ask the hub for the newest file even if an older one is cached.

    Raises:
        ModelError: no model or several models fit.
        ModelFetchError: the download failed.
    """
    return _find(reference, fetch=True, newest=True)


def _find(reference: str | os.PathLike[str], *, fetch: bool, newest: bool) -> Path:
    text = os.path.expanduser(os.fspath(reference))
    if os.path.exists(text) and not os.path.isdir(text):
        return Path(text)
    if text.startswith(HUB):
        return _from_hub(Reference.parse(text), fetch, newest)
    if text and Path(text).name == text:
        return _from_folder(text, fetch)
    if fetch and Path(text).absolute() == models_folder() / DEFAULT_MODEL.file:
        return fetch_default_model()
    state = "is a folder" if os.path.isdir(text) else "does not exist"
    raise ModelError(
        f"{text or repr(text)} {state}; give the path of a GGUF file, a name that "
        "'aded-edge models list' shows, or hf:owner/repo"
    )


def _from_folder(name: str, fetch: bool) -> Path:
    path = find(name)
    if path.exists():
        return path
    if fetch:  # `find` returns a missing file only for the default model
        return fetch_default_model()
    raise unknown_name(name)


def _from_hub(reference: Reference, fetch: bool, newest: bool) -> Path:
    # The hub would choose the first preferred quantisation too, so it need not be asked.
    cached = cached_file(reference, reference.what or PREFERRED[0])
    if cached is not None and not newest:
        return cached
    if not fetch:
        cached = cached or cached_file(reference, reference.what)
        if cached is None:
            raise ModelError(
                f"{reference} is not on this machine; run 'aded-edge models fetch {reference}'"
            )
        return cached
    try:
        chosen = single(offered(reference), reference)
        cached = None if newest else cached_file(reference, chosen.name)
        if cached is None:
            cached, *_ = [fetch_file(reference.repo, part) for part in chosen.parts]
        return cached
    except HubUnreachable as error:
        cached = cached_file(reference, reference.what)
        if cached is None:
            raise
        log.warning("%s; using %s, which is cached", str(error).partition(";")[0], cached.name)
        return cached
