"""Paths as people type them and as terminals paste them when a file is dropped on them.

Knows quotes, backslashes and file:// addresses. Does not know what a file is for.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from urllib.parse import unquote, urlsplit


def typed_path(text: str) -> Path:
    """The path that a text means.

    The text itself counts if a file has this name. Otherwise quotes, backslashes in front of
    blanks, and file:// are taken away, in a name for a new file too.
    """
    text = text.strip()
    forms = [text, *_unquoted(text)]
    paths = [Path(os.path.expanduser(form)) for form in forms]
    return next((path for path in paths if os.path.exists(path)), paths[-1])


def _unquoted(text: str) -> list[str]:
    forms = []
    try:
        words = shlex.split(text)
    except ValueError:  # a quote without its other half is part of the name
        words = []
    # Several words are a name with blanks that nobody quoted.
    if len(words) == 1:
        forms.append(words[0])
    address = urlsplit(forms[-1] if forms else text)
    if address.scheme == "file" and address.netloc in ("", "localhost"):
        # "#" and "?" are written as %23 and %3F in an address, but not by every program.
        forms.append(
            unquote((forms[-1] if forms else text).split("//", 1)[1].removeprefix("localhost"))
        )
    return forms
