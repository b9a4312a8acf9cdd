"""Conversations as files: Markdown for people, JSON for programs; both can be imported.

Both formats contain everything. In Markdown, whatever people need not see is in comments.

Knows both formats. Does not know the store's tables, nor a terminal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aded_edge.errors import ConfigError
from aded_edge.files import write_whole
from aded_edge.shown import local
from aded_edge.store import Conversation, Message, Store, Taken

from .imported import Whole, whole

_MARK = "<!-- aded-edge "
_COMMENT = re.compile(r"<!-- aded-edge (conversation|message) (\{.*\}) -->")


def as_json(conversations: Sequence[Whole]) -> str:
    """Format conversations as JSON."""
    data = [
        {**_about(conversation), "messages": [asdict(message) for message in messages]}
        for conversation, messages in conversations
    ]
    return json.dumps({"aded-edge": 1, "conversations": data}, ensure_ascii=False, indent=1) + "\n"


def as_markdown(conversations: Sequence[Whole]) -> str:
    """Format conversations as Markdown."""
    return "\n".join(line for whole in conversations for line in _markdown(*whole)) + "\n"


def export_file(path: Path, conversations: Sequence[Whole]) -> None:
    """Write conversations to a file in the format that its name ends in: .md or .json.

    Raises:
        ConfigError: the name ends in something else, or the file cannot be written.
    """
    write = {".md": as_markdown, ".json": as_json}.get(path.suffix.lower())
    if write is None:
        raise ConfigError(f"{path} must end in .md or .json: the ending selects the format")
    if not path.parent.is_dir():
        raise ConfigError(f"cannot write {path}: {path.parent} is no folder")
    try:
        write_whole(path, [write(conversations).encode("utf-8", "replace")])
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error


def read_file(path: Path) -> list[Whole]:
    """Read the conversations in an exported file, whatever its format.

    Raises:
        ConfigError: the file cannot be read, or is no export.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); check the path") from error
    try:
        if text.lstrip().startswith("{"):
            return [whole(one, one.pop("messages")) for one in json.loads(text)["conversations"]]
        found = list(_from_markdown(text))
        if not found:
            raise ValueError("it contains no conversation")
        return found
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(
            f"{path} is no conversation that aded-edge exported ({error}); give a .md or .json "
            "file of `aded-edge history export`"
        ) from error


def import_into(store: Store, conversations: Sequence[Whole]) -> list[Taken]:
    """Add conversations to a store; nothing that it has is changed or lost.

    Of a conversation that the store has in a shorter state, the rest is added. One that differs
    from the store's is kept beside it.

    Returns:
        What became of each.

    Raises:
        StoreError: the store cannot be written.
    """
    return [store.conversations.take_in(*one) for one in conversations]


def _about(conversation: Conversation) -> dict[str, Any]:
    about = asdict(conversation)
    del about["id"], about["messages"]  # both differ from store to store
    return about


def _markdown(conversation: Conversation, messages: Sequence[Message]) -> Iterator[str]:
    # A heading is one line, whatever an imported title holds: the next line must be our comment.
    yield f"# {' '.join(conversation.title.split())}"
    yield f"{_MARK}conversation {_comment(_about(conversation))} -->"
    yield ""
    yield f"*{' '.join(conversation.model.split())}, {local(conversation.created)}*"
    for message in messages:
        about = asdict(message)
        content = about.pop("content")
        yield ""
        who = "You" if message.role == "user" else message.model or "Assistant"
        yield f"## {' '.join(who.split())}"
        yield f"{_MARK}message {_comment(about)} -->"
        yield ""
        # A backslash escapes lines that look like our comments; _from_markdown removes it.
        yield re.sub(r"^(\\*<!-- aded-edge )", r"\\\1", content, flags=re.M)
    yield f"{_MARK}end -->"
    yield ""


def _comment(about: Mapping[str, Any]) -> str:
    return json.dumps(about, ensure_ascii=False).replace("-->", "--\\u003e")


def _from_markdown(text: str) -> Iterator[Whole]:
    about: dict[str, Any] | None = None
    messages: list[dict[str, Any]] = []
    lines: list[str] | None = None
    for line in text.split("\n"):
        comment = _COMMENT.fullmatch(line)
        ends = line == f"{_MARK}end -->"
        if (comment or ends) and lines is not None:
            # lines[0] is the empty line after the comment. A message is followed by an empty line
            # and the heading of the next one, the last message only by the end mark.
            body = lines[1:] if ends else lines[1:-2]
            messages[-1]["content"] = re.sub(
                r"^\\(\\*<!-- aded-edge )", r"\1", "\n".join(body), flags=re.M
            )
            lines = None
        if comment and comment[1] == "conversation":
            about = json.loads(comment[2])
        elif comment:
            messages.append(json.loads(comment[2]))
            lines = []
        elif ends:
            if about is None:
                raise ValueError("an end mark without a conversation before it")
            yield whole(about, messages)
            about, messages = None, []
        elif lines is not None:
            lines.append(line)
    if about is not None:
        raise ValueError("the end mark is missing")
