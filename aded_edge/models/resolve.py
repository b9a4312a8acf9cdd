"""Models by name: a path, a name in the models folder, or a repo on the Hugging Face hub.

Of a hub's repo the file that is missing is fetched into the hub's cache, where other tools look
too; what is there is used without asking anybody. huggingface_hub itself begins a broken download
anew in its newer versions, so the bytes are fetched here, and its cache only takes them over.

Knows file names, the models folder and the hub's cache. Knows nothing of what a GGUF file holds,
of llama.cpp, nor of tables. huggingface_hub is imported where a hub is meant and nowhere else: it
is slow to import, and reads its settings (HF_ENDPOINT, HF_HOME) when it is.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from tqdm import tqdm

from aded_edge.errors import ModelError, ModelFetchError

from .default import DEFAULT_MODEL, default_model_path, fetch_default_model

HUB = "hf:"
"""What a reference to a hub's repo begins with."""

PREFERRED = ("Q4_K_M", "Q4_0")
"""Quantisations that are chosen when none is asked for; without them, the smallest file."""

_BLOCK = 1 << 20
_TRIES = 3
"""Attempts in a row that bring nothing, before a download is given up."""
_PAUSE = 1.0
"""Seconds before the second attempt; twice as many before each further one."""
_NAMED = 12
"""Names that fit into one line of an error."""

_REFERENCE = re.compile(r"hf:([\w.-]+/[\w.-]+)(?::(.+))?")
_PART = re.compile(r"-(\d{5})-of-(\d{5})(?=\.gguf$)", re.IGNORECASE)
_QUANTISATION = re.compile(
    r"(?<![a-z0-9])((?:ud-)?(?:i?q\d\w*|tq\d\w*|mxfp4\w*|bf16|fp?16|f32))(?=[-.])", re.IGNORECASE
)

log = logging.getLogger("aded_edge")


@dataclass(frozen=True)
class Model:
    """A model that is on this machine."""

    name: str
    """What it is called by; every command takes it."""
    files: tuple[Path, ...]
    """All of its files, the one to be loaded first."""
    size: int
    """In bytes, what two files share counted once."""
    repo: str | None
    """Where it came from; None for the models folder."""

    @property
    def path(self) -> Path:
        """The file to be loaded; llama.cpp finds the other parts beside it."""
        return self.files[0]


class Weights(NamedTuple):
    """The files of one model: several if it was split."""

    parts: tuple[str, ...]
    size: int

    @property
    def name(self) -> str:
        """The file to be loaded."""
        return self.parts[0]


class Reference(NamedTuple):
    """A repo on a hub, and which of its models is meant."""

    repo: str
    what: str | None
    """The name of a file or a quantisation."""

    def __str__(self) -> str:
        return f"{HUB}{self.repo}" if self.what is None else f"{HUB}{self.repo}:{self.what}"

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Reads `hf:owner/repo` or `hf:owner/repo:what`.

        Raises:
            ModelError: it is neither.
        """
        match = _REFERENCE.fullmatch(text)
        if match is None:
            raise ModelError(
                f"{text!r} names no repo on a hub; write hf:owner/repo, hf:owner/repo:Q4_K_M or "
                "hf:owner/repo:file.gguf"
            )
        return cls(match[1], match[2])


class _Unreachable(ModelFetchError):
    """The hub does not answer; what is cached may still do."""


def resolve(reference: str | os.PathLike[str], *, fetch: bool = True) -> Path:
    """The file that a reference means.

    Args:
        reference: the path of a file; `hf:owner/repo`, with `:` and the name of a file or a
            quantisation behind it; or the name of a file in the models folder, which may lack
            its ending or be cut short as long as it stays unique.
        fetch: what is missing is downloaded: a repo's file, or the default model.

    Raises:
        ModelError: there is no such model, or there are several.
        ModelFetchError: it could not be downloaded.
    """
    return _find(reference, fetch=fetch, newest=False)


def fetch(reference: str | os.PathLike[str]) -> Path:
    """The same, but a hub's repo is asked for its newest file even if an older one is cached.

    Raises:
        ModelError: there is no such model, or there are several.
        ModelFetchError: it could not be downloaded.
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
    if fetch and Path(text).absolute() == default_model_path():
        return fetch_default_model()
    state = "is a folder" if os.path.isdir(text) else "does not exist"
    raise ModelError(
        f"{text or repr(text)} {state}; give the path of a GGUF file, a name that "
        "'aded-edge models list' shows, or hf:owner/repo"
    )


# --- which of several files -----------------------------------------------------------------


def whole_models(sizes: Mapping[str, int]) -> list[Weights]:
    """The models among these files, by name; split ones only if no part is missing."""
    groups: dict[str, list[str]] = {}
    for name in sorted(filter(_may_be_model, sizes)):
        groups.setdefault(_PART.sub(r"-of-\2", name), []).append(name)
    models = []
    for parts in groups.values():
        split = _PART.search(parts[0])
        if split is None or len(parts) == int(split[2]):
            models.append(Weights(tuple(parts), sum(sizes[part] for part in parts)))
    return models


def _may_be_model(name: str) -> bool:
    file = PurePosixPath(name).name.lower()
    # Beside models lie what lets them see, and what their quantisation was weighed with.
    return file.endswith(".gguf") and "mmproj" not in file and not file.startswith("imatrix")


def matching(models: Sequence[Weights], what: str | None) -> list[Weights]:
    """The models that are meant: none, one, or several between which nothing decides.

    Args:
        models: of one repo.
        what: the name of a file or a quantisation, in any case; None for the preferred one.
    """
    if what is None:
        for quantisation in PREFERRED:
            if found := matching(models, quantisation):
                return found
        return sorted(models, key=lambda model: model.size)[:1]
    wanted = what.lower()
    named = [
        model
        for model in models
        if any(wanted in (part.lower(), PurePosixPath(part).name.lower()) for part in model.parts)
    ]
    # Q4_K must not find Q4_K_M, nor Q4_0 find IQ4_0.
    token = re.compile(rf"(?<![a-z0-9]){re.escape(what)}(?![a-z0-9_])", re.IGNORECASE)
    return named or [model for model in models if token.search(model.name)]


def quantisation(name: str) -> str | None:
    """The quantisation that a file's name tells."""
    found = _QUANTISATION.findall(PurePosixPath(name).name)
    return str(found[-1]) if found else None


def _label(model: Weights, models: Sequence[Weights]) -> str:
    """The shortest `what` that means this model among those of its repo."""
    short = quantisation(model.name)
    return short if short and matching(models, short) == [model] else model.name


def _the_one(found: Sequence[Weights], reference: Reference) -> Weights:
    if len(found) > 1:
        names = _some([model.name for model in found])
        raise ModelError(
            f"{reference} means several files: {names}; name one as hf:{reference.repo}:FILE"
        )
    return found[0]


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


# --- the models folder ----------------------------------------------------------------------


def models_folder() -> Path:
    """Where models lie that are called by a bare name, whether or not it is there."""
    return default_model_path().parent


def _from_folder(name: str, fetch: bool) -> Path:
    folder = models_folder()
    models = whole_models(_sizes(folder))
    there = [model.name for model in models]
    for names in (there, [DEFAULT_MODEL.file]):  # what is there comes before what could be
        found = _called(name, names)
        if len(found) > 1:
            raise ModelError(f"{name!r} means several models: {_some(found)}; write more of it")
        if found and names is there:
            return folder / found[0]
        if found and fetch:
            return fetch_default_model()
    raise ModelError(_no_such(name, {*there, DEFAULT_MODEL.file}, folder))


def _called(name: str, names: Sequence[str]) -> list[str]:
    """The files that a name means: itself, else whatever begins so."""
    wanted = name.lower()
    for fits in (
        lambda file: file in (name, f"{name}.gguf"),
        lambda file: file.lower() in (wanted, f"{wanted}.gguf"),
        lambda file: file.lower().startswith(wanted),
    ):
        if found := [file for file in names if fits(file)]:
            return found
    return []


def _no_such(name: str, names: set[str], folder: Path) -> str:
    # Compared without their endings, which all have in common.
    stems = {Path(file).stem.lower(): file for file in sorted(names)}
    near = difflib.get_close_matches(name.lower().removesuffix(".gguf"), stems, 3, cutoff=0.4)
    hint = f"did you mean {' or '.join(stems[stem] for stem in near)}? " if near else ""
    return (
        f"no model {name!r} in {folder}; {hint}'aded-edge models list' shows what there is, "
        "'aded-edge models fetch hf:owner/repo' brings another"
    )


def _sizes(folder: Path, pattern: str = "*") -> dict[str, int]:
    """The files in a folder, by their names relative to it."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.glob(pattern)
        if path.suffix.lower() == ".gguf" and not path.name.startswith(".") and path.is_file()
    }


# --- the hub --------------------------------------------------------------------------------


def _from_hub(reference: Reference, fetch: bool, newest: bool) -> Path:
    # A preferred quantisation is what the hub would give too: no need to ask.
    there = _cached(reference, reference.what or PREFERRED[0])
    if there is not None and not newest:
        return there
    if not fetch:
        there = there or _cached(reference, reference.what)
        if there is None:
            raise ModelError(
                f"{reference} is not on this machine; run 'aded-edge models fetch {reference}'"
            )
        return there
    try:
        found = _the_one(_offered(reference), reference)
        there = None if newest else _cached(reference, found.name)
        if there is None:
            paths = [_fetched(reference.repo, part) for part in found.parts]
            there = paths[0]
        return there
    except _Unreachable as error:
        there = _cached(reference, reference.what)
        if there is None:
            raise
        log.warning("%s; using %s, which is cached", str(error).partition(";")[0], there.name)
        return there


def _cached(reference: Reference, what: str | None) -> Path | None:
    """The file that is meant, if it is in the cache."""
    for snapshot in _snapshots(reference.repo):
        found = matching(whole_models(_sizes(snapshot, "**/*")), what)
        if found:
            return snapshot / _the_one(found, reference).name
    return None


def _offered(reference: Reference) -> list[Weights]:
    """What the hub has for a reference: at least one model."""
    from huggingface_hub import HfApi

    repo, what = reference
    with _explained(repo):
        files = HfApi().model_info(repo, files_metadata=True).siblings or []
    models = whole_models({file.rfilename: file.size or 0 for file in files})
    if not models:
        raise ModelFetchError(f"{repo} has no GGUF files; choose a repo that has, often …-GGUF")
    found = matching(models, what)
    if not found:
        has = _some([_label(model, models) for model in models])
        raise ModelFetchError(f"{repo} has no {what}; it has {has}")
    return found


def _fetched(repo: str, file: str) -> Path:
    """A repo's file in the cache, downloaded if its content is not there yet."""
    from filelock import FileLock
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    with _explained(repo):
        facts = get_hf_file_metadata(hf_hub_url(repo, file))
        if facts.etag and facts.size:
            folder = _repo_folder(repo)
            blob = folder / "blobs" / facts.etag
            # The lock that huggingface_hub itself takes in other programs.
            lock = folder.parent / ".locks" / folder.name / f"{facts.etag}.lock"
            blob.parent.mkdir(parents=True, exist_ok=True)
            lock.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(lock):
                if not blob.exists():
                    url = hf_hub_url(repo, file, revision=facts.commit_hash)
                    _download(url, blob, facts.size, f"{repo}/{file}")
        return Path(hf_hub_download(repo, file))  # finds the blob, and gives it its name


def _download(url: str, blob: Path, size: int, name: str) -> None:
    """Writes `blob` whole and checked; what a broken run leaves, the next one goes on from."""
    partial = blob.with_name(f"{blob.name}.incomplete")
    if _size(partial) > size:
        partial.unlink()
    _check_room(blob.parent, size - _size(partial), name)
    log.info("fetching %s (%s) into %s", name, in_words(size), blob.parent.parent)
    with tqdm(
        desc=PurePosixPath(name).name,
        total=size,
        initial=_size(partial),
        unit="B",
        unit_scale=True,
        leave=False,
        disable=not sys.stderr.isatty(),
    ) as bar:
        _complete(url, partial, size, bar)
    # Large files are named by their SHA-256, small ones by what git calls them.
    if len(blob.name) == 64 and _sha256(partial) != blob.name:
        partial.unlink()
        raise ModelFetchError(f"{name} arrived damaged and was not kept; try again")
    os.replace(partial, blob)


def _complete(url: str, partial: Path, size: int, bar: Any) -> None:
    """Tries to get what is missing, until all is there or nothing more comes."""
    from huggingface_hub.utils import httpx

    failures = 0
    while (have := _size(partial)) < size:
        reason: Exception | str = "it sent nothing"
        try:
            _append(url, partial, have, bar)
        except httpx.TransportError as error:
            reason = error
        if _size(partial) > have:
            failures = 0
            continue
        failures += 1
        if failures == _TRIES:
            raise _Unreachable(
                f"{_endpoint()} stopped sending ({_one_line(reason)}) after {in_words(have)} of "
                f"{in_words(size)}; the same command goes on from there"
            )
        time.sleep(_PAUSE * 2 ** (failures - 1))


def _append(url: str, partial: Path, have: int, bar: Any) -> None:
    """One attempt."""
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    headers = build_hf_headers() | {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with get_session().stream(
        "GET",
        url,
        headers=headers,
        follow_redirects=True,
        timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
    ) as response:
        hf_raise_for_status(response)
        goes_on = response.status_code == 206  # 200 is the whole file, from its beginning
        with partial.open("ab" if goes_on else "wb") as file:
            bar.n = have if goes_on else 0
            for block in response.iter_bytes():  # as they come: what came is kept
                file.write(block)
                bar.update(len(block))
            file.flush()
            os.fsync(file.fileno())


@contextlib.contextmanager
def _explained(repo: str) -> Iterator[None]:
    """Turns what goes wrong between us, a hub and the disk into one line with a remedy."""
    from huggingface_hub import errors
    from huggingface_hub.utils import httpx

    hub = _endpoint()
    try:
        yield
    except ModelFetchError:
        raise
    except errors.GatedRepoError as error:
        raise ModelFetchError(
            f"{repo} is gated; accept its terms on {hub}/{repo}, then run 'hf auth login' or set "
            "HF_TOKEN"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelFetchError(
            f"{hub} has no repo {repo}, or keeps it private; check the name, and for a private "
            "one run 'hf auth login' or set HF_TOKEN"
        ) from error
    except errors.HFValidationError as error:
        raise ModelError(f"{repo} cannot be a repo's name; write hf:owner/repo") from error
    except errors.OfflineModeIsEnabled as error:
        raise _Unreachable(
            f"HF_HUB_OFFLINE is set, so {repo} is not fetched; unset it, or take what "
            "'aded-edge models list' shows"
        ) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        kind = _Unreachable if status == 429 or status >= 500 else ModelFetchError
        raise kind(f"{hub} refuses {repo} with status {status}; try again later") from error
    except (httpx.HTTPError, errors.LocalEntryNotFoundError) as error:
        raise _Unreachable(
            f"cannot reach {hub} for {repo} ({_one_line(error)}); check the network, HTTPS_PROXY "
            "and HF_ENDPOINT"
        ) from error
    except OSError as error:
        raise ModelFetchError(
            f"cannot write {error.filename or hub_cache()}: {error.strerror or error}; free some "
            "room or set HF_HOME to another place"
        ) from error


def _check_room(folder: Path, needed: int, name: str) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ModelFetchError(
            f"{name} needs {in_words(needed)} and {folder} has {in_words(free)} left; free some "
            "room or set HF_HOME to another place"
        )


def _one_line(reason: object) -> str:
    return " ".join(str(reason).split()) or type(reason).__name__


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


# --- the hub's cache ------------------------------------------------------------------------
# models--owner--repo/snapshots/COMMIT/FILE, links into models--owner--repo/blobs; refs/main
# names a commit. The layout is documented, and read here without the seconds that
# huggingface_hub's own scan takes, which looks at all data sets too.


def _endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def hub_cache() -> Path:
    """Where huggingface_hub and other tools keep what they fetched, by their own settings."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _repo_folder(repo: str) -> Path:
    return hub_cache() / f"models--{repo.replace('/', '--')}"


def _snapshots(repo: str) -> list[Path]:
    """The cached commits of a repo: what `main` was last, then the others, the newest first."""
    folder = _repo_folder(repo)
    ref = folder / "refs" / "main"
    main = ref.read_text().strip() if ref.is_file() else ""
    snapshots = [path for path in folder.glob("snapshots/*") if path.is_dir()]
    return sorted(
        snapshots, key=lambda path: (path.name == main, path.stat().st_mtime), reverse=True
    )


def _cached_models(repo: str) -> dict[Weights, Model]:
    """What is cached of a repo, by what it is called there; `Model.files` has all revisions."""
    files: dict[str, list[Path]] = {}
    weights: dict[str, Weights] = {}
    for snapshot in _snapshots(repo):
        for model in whole_models(_sizes(snapshot, "**/*")):
            weights.setdefault(model.name, model)
            files.setdefault(model.name, []).extend(snapshot / part for part in model.parts)
    everything = list(weights.values())
    return {
        model: Model(
            str(Reference(repo, _label(model, everything))),
            tuple(files[name]),
            sum(path.stat().st_size for path in {path.resolve() for path in files[name]}),
            repo,
        )
        for name, model in sorted(weights.items())
    }


# --- what is there, and away with it --------------------------------------------------------


def models() -> list[Model]:
    """All models in the models folder and in the hub's cache."""
    folder = models_folder()
    own = [
        Model(weights.name, tuple(folder / part for part in weights.parts), weights.size, None)
        for weights in whole_models(_sizes(folder))
    ]
    names = sorted(path.name for path in hub_cache().glob("models--*--*"))
    repos = [name.removeprefix("models--").replace("--", "/", 1) for name in names]
    return own + [model for repo in repos for model in _cached_models(repo).values()]


def removable(reference: str | os.PathLike[str]) -> list[Model]:
    """What `remove` would be asked to remove: all of a repo's models if it is a bare repo.

    Args:
        reference: as for `resolve`, but names must be whole.

    Raises:
        ModelError: it is not there, or lies outside the models folder and the hub's cache.
    """
    text = os.path.expanduser(os.fspath(reference))
    if text.startswith(HUB):
        return _removable_from_hub(Reference.parse(text))
    folder = models_folder()
    known = models()
    # A path counts by the place it is in: a link to a model is not the model.
    place = Path(text).absolute()
    place = place.parent.resolve() / place.name
    for model in known:
        if place in [path.parent.resolve() / path.name for path in model.files]:
            return [model]
    if Path(text).name != text or (os.path.exists(text) and not os.path.isdir(text)):
        raise ModelError(
            f"{text} is neither in {folder} nor in the hub's cache, {hub_cache()}; only models "
            "there are removed"
        )
    names = [model.name for model in known if model.repo is None]
    found = [model for model in known if model.name in (text, f"{text}.gguf")]
    if not found:
        raise ModelError(_no_such(text, set(names), folder))
    return found


def _removable_from_hub(reference: Reference) -> list[Model]:
    repo, what = reference
    cached = _cached_models(repo)
    there = list(cached.values())
    if what is not None:
        found = matching(list(cached), what)
        there = [cached[_the_one(found, reference)]] if found else []
    elif not there:  # what broken downloads left is shown nowhere else
        partials = tuple(_repo_folder(repo).glob("blobs/*.incomplete"))
        size = sum(map(_size, partials))
        there = [Model(str(reference), partials, size, repo)] if partials else []
    if not there:
        raise ModelError(
            f"nothing of {reference} is cached in {hub_cache()}; 'aded-edge models list' shows "
            "what there is"
        )
    return there


def remove(model: Model) -> int:
    """Removes a model's files, and what else its repo left in the cache if it was the last one.

    Args:
        model: one of `models` or `removable`.

    Returns:
        The bytes that are free now. What another revision shares stays, and is not counted.

    Raises:
        ModelError: a file cannot be removed.
    """
    try:
        freed = _remove_from_cache(model) if model.repo else sum(map(_unlink, model.files))
    except OSError as error:
        raise _kept(model, error.strerror or str(error)) from error
    if any(map(os.path.lexists, model.files)):  # huggingface_hub only warns
        raise _kept(model, "not permitted")
    return freed


def _kept(model: Model, reason: str) -> ModelError:
    return ModelError(
        f"cannot remove {model.path}: {reason}; check who owns it and whether a program has it open"
    )


def _remove_from_cache(model: Model) -> int:
    from huggingface_hub import scan_cache_dir

    cache = scan_cache_dir()
    for repo in cache.repos:
        files = {file for revision in repo.revisions for file in revision.files}
        doomed = {file for file in files if file.file_path in model.files}
        if doomed:
            commits = [revision.commit_hash for revision in repo.revisions]
            everything = doomed == files
            plan = cache.delete_revisions(*commits) if everything else cache.delete_files(*doomed)
            plan.execute()
            return plan.expected_freed_size
    # A broken download is no file of the repo yet.
    freed = sum(map(_unlink, model.files))
    folder = model.path.parent.parent
    if not any(folder.glob("snapshots/*")):
        shutil.rmtree(folder)
    return freed


def _unlink(path: Path) -> int:
    """Removes a file; returns what that frees: of a link, nothing."""
    size = 0 if path.is_symlink() else path.stat().st_size
    path.unlink()
    return size


def in_words(size: int) -> str:
    """Bytes as people write them."""
    for unit, bytes_ in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= bytes_:
            number = size / bytes_
            return f"{number:.1f} {unit}" if number < 10 else f"{number:.0f} {unit}"
    return f"{size} bytes"
