"""The Hugging Face hub: which models a repo has, and their download into the hub's cache.

Only a missing file is downloaded. An interrupted download continues where it stopped; newer
versions of huggingface_hub start again, so the bytes are fetched here and its cache takes over the
finished file.

Knows the hub's API and its errors. Does not know what a reference means on this machine.
huggingface_hub is imported inside functions: the import is slow, and reads the user's settings
(HF_ENDPOINT, HF_HOME, HF_TOKEN).
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import Any

from rich.filesize import decimal
from tqdm import tqdm

from aded_edge.errors import ModelError, ModelFetchError
from aded_edge.shown import one_line

from .cache import hub_cache, repo_folder
from .digest import sha256
from .names import Reference, Weights, label, matching, shortened, whole_models

_ATTEMPTS = 3
"""Attempts in a row that bring no bytes before a download is given up."""
_PAUSE = 1.0
"""Seconds before the second attempt; each further pause is twice as long."""
_SHA256_DIGITS = 64

log = logging.getLogger("aded_edge")


class HubUnreachable(ModelFetchError):
    """The hub does not answer; a cached file may still serve."""


def offered(reference: Reference) -> list[Weights]:
    """Ask the hub for the models that a reference means: one, or several if it is ambiguous.

    Raises:
        ModelFetchError: the repo has no such model, or the hub refuses.
        HubUnreachable: the hub does not answer.
    """
    from huggingface_hub import HfApi

    repo, what = reference
    with _explained(repo):
        files = HfApi().model_info(repo, files_metadata=True).siblings or []
    models = whole_models({file.rfilename: file.size or 0 for file in files})
    if not models:
        raise ModelFetchError(f"{repo} has no GGUF files; choose a repo that has, often …-GGUF")
    found = matching(models, what)
    if not found:
        names = shortened([label(model, models) for model in models])
        raise ModelFetchError(f"{repo} has no {what}; it has {names}")
    return found


def fetch_file(repo: str, file: str) -> Path:
    """Return a repo's newest file in the cache; download it if its content is not there.

    Raises:
        ModelFetchError: it cannot be downloaded, checked or written.
        HubUnreachable: the hub does not answer.
    """
    from filelock import FileLock
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    with _explained(repo):
        about = get_hf_file_metadata(hf_hub_url(repo, file))
        if about.etag and about.size:
            folder = repo_folder(repo)
            blob = folder / "blobs" / about.etag
            # huggingface_hub takes the same lock in other programs.
            lock = folder.parent / ".locks" / folder.name / f"{about.etag}.lock"
            blob.parent.mkdir(parents=True, exist_ok=True)
            lock.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(lock):
                if not blob.exists():
                    url = hf_hub_url(repo, file, revision=about.commit_hash)
                    _download(url, blob, about.size, f"{repo}/{file}")
        return Path(hf_hub_download(repo, file))  # finds the blob and links the file to it


def _download(url: str, blob: Path, size: int, name: str) -> None:
    """Download to `blob.incomplete`, check it, and rename it to `blob`.

    Args:
        url: where the content is.
        blob: the file in the cache; its name is the content's digest.
        size: bytes of the content.
        name: owner, repo and file, for messages.
    """
    partial = blob.with_name(f"{blob.name}.incomplete")
    if _size(partial) > size:
        partial.unlink()
    _check_room(blob.parent, size - _size(partial), name)
    log.info("fetching %s (%s) into %s", name, decimal(size), blob.parent.parent)
    with tqdm(
        desc=one_line(PurePosixPath(name).name),
        total=size,
        initial=_size(partial),
        unit="B",
        unit_scale=True,
        leave=False,
        disable=not sys.stderr.isatty(),
    ) as bar:
        _complete(url, partial, size, bar)
    # Large files are named by their SHA-256, small ones by git's shorter digest.
    if len(blob.name) == _SHA256_DIGITS and sha256(partial) != blob.name:
        partial.unlink()
        raise ModelFetchError(f"{name} arrived damaged and was not kept; try again")
    os.replace(partial, blob)


def _complete(url: str, partial: Path, size: int, bar: Any) -> None:
    """Append to `partial` until it has `size` bytes.

    Raises:
        HubUnreachable: several attempts in a row brought nothing.
    """
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
        if failures == _ATTEMPTS:
            raise HubUnreachable(
                f"{_endpoint()} stopped sending ({_one_line(reason)}) after {decimal(have)} of "
                f"{decimal(size)}; the same command goes on from there"
            )
        time.sleep(_PAUSE * 2 ** (failures - 1))


def _append(url: str, partial: Path, have: int, bar: Any) -> None:
    """Make one attempt to download the bytes after the first `have`."""
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
        # Any other status than 206 means that the server sends the whole file.
        is_rest = response.status_code == HTTPStatus.PARTIAL_CONTENT
        with partial.open("ab" if is_rest else "wb") as file:
            bar.n = have if is_rest else 0
            for block in response.iter_bytes():  # written at once, so that a break loses little
                file.write(block)
                bar.update(len(block))
            file.flush()
            os.fsync(file.fileno())


@contextlib.contextmanager
def _explained(repo: str) -> Iterator[None]:
    """Turn errors of the hub, the network and the disk into one line with a remedy."""
    from huggingface_hub import errors
    from huggingface_hub.utils import httpx

    try:
        yield
    except errors.OfflineModeIsEnabled as error:
        raise HubUnreachable(
            f"HF_HUB_OFFLINE is set, so {repo} is not fetched; unset it, or take what "
            "'aded-edge models list' shows"
        ) from error
    except errors.HFValidationError as error:
        raise ModelError(f"{repo} cannot be a repo's name; write hf:owner/repo") from error
    except errors.HfHubHTTPError as error:
        raise _refusal(repo, error) from error
    except (httpx.HTTPError, errors.LocalEntryNotFoundError) as error:
        raise HubUnreachable(
            f"cannot reach {_endpoint()} for {repo} ({_one_line(error)}); check the network, "
            "HTTPS_PROXY and HF_ENDPOINT"
        ) from error
    except OSError as error:
        raise ModelFetchError(
            f"cannot write {error.filename or hub_cache()}: {error.strerror or error}; free some "
            "room or set HF_HOME to another place"
        ) from error


def _refusal(repo: str, error: Any) -> ModelFetchError:
    """Return our error for an `HfHubHTTPError`: an answer with an error status."""
    from huggingface_hub import constants, errors, get_token

    hub = _endpoint()
    status = error.response.status_code
    # For a missing or private repo the hub answers 401 only if no token was sent.
    if status == HTTPStatus.UNAUTHORIZED and get_token():
        place = "HF_TOKEN" if os.environ.get("HF_TOKEN") else constants.HF_TOKEN_PATH
        return ModelFetchError(
            f"{hub} refuses {repo} with status 401: your token in {place} is not valid (any more); "
            "run 'hf auth login', or remove it: public models need none"
        )
    if isinstance(error, errors.GatedRepoError):
        return ModelFetchError(
            f"{repo} is gated; accept its terms on {hub}/{repo}, then run 'hf auth login' or set "
            "HF_TOKEN"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return ModelFetchError(
            f"{hub} has no repo {repo}, or keeps it private; check the name, and for a private "
            "one run 'hf auth login' or set HF_TOKEN"
        )
    passing = status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    kind = HubUnreachable if passing else ModelFetchError
    return kind(f"{hub} refuses {repo} with status {status}; try again later")


def _check_room(folder: Path, needed: int, name: str) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ModelFetchError(
            f"{name} needs {decimal(needed)} and {folder} has {decimal(free)} left; free some "
            "room or set HF_HOME to another place"
        )


def _endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def _one_line(reason: object) -> str:
    return " ".join(str(reason).split()) or type(reason).__name__


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
