"""The models folder, where a model is called by its file name.

Knows where the folder is, and finds, lists and deletes GGUF files in a folder. Does not know the
hub or its cache.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from aded_edge.errors import ModelError

from .default import DEFAULT_MODEL, default_model_path
from .names import Model, named, shortened, whole_models


def models_folder() -> Path:
    """Return the folder of the models that a bare name means; it may not exist."""
    return default_model_path().parent


def find(name: str) -> Path:
    """Find the file in the models folder that a name means.

    Args:
        name: a file name, in any case, with or without `.gguf`, or a unique beginning of one.

    Returns:
        An existing file; or the default model's, if only that fits, whether or not it exists.

    Raises:
        ModelError: no model or several models have this name.
    """
    folder = models_folder()
    present = [model.path.name for model in folder_models()]
    for names in (present, [DEFAULT_MODEL.file]):
        found = named(name, names)
        if len(found) > 1:
            raise ModelError(f"{name!r} means several models: {shortened(found)}; write more of it")
        if found:
            return folder / found[0]
    raise unknown_name(name)


def unknown_name(name: str) -> ModelError:
    """Return the error for a name that no model has; it suggests similar names."""
    # Compared without ".gguf", which makes all names look alike. Names are long and people leave
    # out much of them, so a lower similarity than difflib's default counts.
    names = {model.path.name for model in folder_models()} | {DEFAULT_MODEL.file}
    stems = {Path(file).stem.lower(): file for file in sorted(names)}
    near = difflib.get_close_matches(name.lower().removesuffix(".gguf"), stems, 3, cutoff=0.4)
    hint = f"did you mean {' or '.join(stems[stem] for stem in near)}? " if near else ""
    return ModelError(
        f"no model {name!r} in {models_folder()}; {hint}'aded-edge models list' shows what there "
        "is, 'aded-edge models fetch hf:owner/repo' brings another"
    )


def folder_models() -> list[Model]:
    """List the models in the models folder."""
    folder = models_folder()
    return [
        Model(weights.name, tuple(folder / part for part in weights.parts), weights.size, None)
        for weights in whole_models(gguf_sizes(folder))
    ]


def gguf_sizes(folder: Path, pattern: str = "*") -> dict[str, int]:
    """Return the bytes of the GGUF files in a folder by their names relative to it.

    Hidden files are skipped, because programs keep unfinished files under such names.
    """
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.glob(pattern)
        if path.suffix.lower() == ".gguf" and not path.name.startswith(".") and path.is_file()
    }


def delete_file(path: Path) -> int:
    """Delete a file and return the bytes that this frees: 0 for a link."""
    size = 0 if path.is_symlink() else path.stat().st_size
    path.unlink()
    return size
