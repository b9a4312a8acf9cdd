"""huggingface_hub's cache, which other tools share: what it holds, and removal from it.

Reads the documented layout directly, because huggingface_hub's own scan takes seconds and looks
at all data sets too:

    models--owner--repo/snapshots/COMMIT/FILE    a link to models--owner--repo/blobs/DIGEST
    models--owner--repo/refs/main                the commit that `main` was at the last download

Does not ask the hub anything. huggingface_hub is imported inside functions: the import is slow,
and reads the user's settings (HF_HOME).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from .folder import delete_file, gguf_sizes
from .names import Model, Reference, Weights, label, matching, single, whole_models


def hub_cache() -> Path:
    """Return the cache's folder, as huggingface_hub's settings say."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def repo_folder(repo: str) -> Path:
    """Return a repo's folder in the cache; it may not exist."""
    return hub_cache() / f"models--{repo.replace('/', '--')}"


def cached_repos() -> list[str]:
    """List the repos in the cache, as `owner/repo`, sorted."""
    names = sorted(path.name for path in hub_cache().glob("models--*--*"))
    return [name.removeprefix("models--").replace("--", "/", 1) for name in names]


def cached_file(reference: Reference, what: str | None) -> Path | None:
    """Find a repo's model in the cache.

    Args:
        reference: the repo; its own `what` only appears in the message.
        what: a file name or a quantisation; None for the preferred model.

    Returns:
        The file to load from the newest revision that has it, or None.

    Raises:
        ModelError: `what` fits several models.
    """
    for snapshot in _snapshots(reference.repo):
        found = matching(whole_models(gguf_sizes(snapshot, "**/*")), what)
        if found:
            return snapshot / single(found, reference).name
    return None


def cached_models(repo: str) -> dict[Weights, Model]:
    """List the cached models of a repo, each with its files of all cached revisions."""
    files: dict[str, list[Path]] = {}
    weights: dict[str, Weights] = {}
    for snapshot in _snapshots(repo):
        for model in whole_models(gguf_sizes(snapshot, "**/*")):
            weights.setdefault(model.name, model)
            files.setdefault(model.name, []).extend(snapshot / part for part in model.parts)
    everything = list(weights.values())
    return {
        model: Model(
            str(Reference(repo, label(model, everything))),
            tuple(files[name]),
            sum(path.stat().st_size for path in {path.resolve() for path in files[name]}),
            repo,
        )
        for name, model in sorted(weights.items())
    }


def partial_downloads(repo: str) -> tuple[Path, ...]:
    """List the files of a repo whose download was interrupted."""
    return tuple(repo_folder(repo).glob("blobs/*.incomplete"))


def remove_cached(model: Model) -> int:
    """Remove a model's files from the cache; with the last files of a repo, the repo's folder.

    Args:
        model: from `cached_models`, or with files from `partial_downloads`.

    Returns:
        The bytes freed. Content that another revision shares stays and is not counted.

    Raises:
        OSError: a file cannot be removed.
    """
    from huggingface_hub import scan_cache_dir

    cache = scan_cache_dir()
    for repo in cache.repos:
        files = {file for revision in repo.revisions for file in revision.files}
        chosen = {file for file in files if file.file_path in model.files}
        if chosen:
            commits = [revision.commit_hash for revision in repo.revisions]
            is_all = chosen == files
            plan = cache.delete_revisions(*commits) if is_all else cache.delete_files(*chosen)
            plan.execute()
            return plan.expected_freed_size
    # huggingface_hub's scan does not know interrupted downloads.
    freed = sum(map(delete_file, model.files))
    folder = model.path.parent.parent
    if not any(folder.glob("snapshots/*")):
        shutil.rmtree(folder)
    return freed


def _snapshots(repo: str) -> list[Path]:
    """List the cached revisions of a repo: the last known `main`, then the others, newest first."""
    folder = repo_folder(repo)
    ref = folder / "refs" / "main"
    main = ref.read_text().strip() if ref.is_file() else ""
    snapshots = [path for path in folder.glob("snapshots/*") if path.is_dir()]
    return sorted(
        snapshots, key=lambda path: (path.name == main, path.stat().st_mtime), reverse=True
    )
