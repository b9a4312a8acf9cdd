"""Checks of a conversation that comes from a file.

An export may be old, damaged or made by someone else. Each value is checked before the store gets
it: one that it could not keep, or that would make later queries fail, is refused.

Knows the fields and their limits. Does not know the formats of files.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from aded_edge.store import Conversation, Message, storable

Whole = tuple[Conversation, Sequence[Message]]
"""A conversation with all of its messages."""

MOST = 10**12
"""The largest number: sums over a million of them fit into the store's integers."""

_ENDINGS = (None, "stopped", "limit")

_FORMAT = "%Y-%m-%dT%H:%M:%SZ"

_SHOWN = 40
"""Characters of a wrong value that a message shows."""


def whole(about: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]) -> Whole:
    """The conversation that a file describes.

    Args:
        about: its fields; unknown ones are left out.
        messages: the fields of each message.

    Raises:
        ValueError: a value is wrong; the text says which.
        KeyError, TypeError, AttributeError: a field is missing, or a table is no table.
    """
    said = [_message(message) for message in messages]
    if [message.role for message in said] != ["user", "assistant"] * (len(said) // 2):
        raise ValueError("questions and answers do not alternate")
    conversation = Conversation(
        id=0,
        uid=_uid(about, said),
        title=" ".join(_text(about["title"], "title").split()),
        model=_text(about["model"], "model"),
        persona=_text_or_none(about.get("persona"), "persona"),
        system=_text(about.get("system", ""), "system"),
        summary=_text(about.get("summary", ""), "summary"),
        summarized=_count(about.get("summarized", 0), "summarized"),
        created=_time(about.get("created", ""), "created"),
        updated=_time(about.get("updated", ""), "updated"),
    )
    if conversation.summarized > len(said):
        raise ValueError(f"{conversation.summarized} of {len(said)} messages are summarized")
    return conversation, said


def _message(about: Mapping[str, Any]) -> Message:
    known = {field.name for field in fields(Message)}
    values = {name: value for name, value in about.items() if name in known}
    values["role"] = _text(about["role"], "role")
    values["content"] = _text(about["content"], "content")
    for name in ("given", "model"):
        values[name] = _text_or_none(about.get(name), name)
    if about.get("cut") not in _ENDINGS:
        raise ValueError(f"cut is {_shown(about['cut'])}")
    values["tokens"] = _count(about.get("tokens", 0), "tokens")
    values["stats"] = _stats(about.get("stats", {}))
    sources = about.get("sources", ())
    if not isinstance(sources, (list, tuple)):
        raise ValueError(f"sources is {_shown(sources)}")
    values["sources"] = tuple(_text(source, "a source") for source in sources)
    values["created"] = _time(about.get("created", ""), "created")
    return Message(**values)


def _uid(about: Mapping[str, Any], messages: Sequence[Message]) -> str:
    """The uid in the file, or one that follows from what was said."""
    uid = about["uid"]
    if isinstance(uid, str) and re.fullmatch(r"[0-9a-f]{32}", uid):
        return uid
    text = json.dumps([(message.role, message.content) for message in messages[:2]])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is {_shown(value)}, which is no text")
    return storable(value)


def _text_or_none(value: object, name: str) -> str | None:
    return None if value is None else _text(value, name)


def _count(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST:
        raise ValueError(f"{name} is {_shown(value)}, which is no count")
    return value


def _stats(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"stats is {_shown(value)}, which is no table")
    for number in value.values():
        usual = number is None or isinstance(number, (int, float))
        if not usual or not -MOST <= (number or 0) <= MOST:  # also refuses NaN
            raise ValueError(f"a number in stats is {_shown(number)}")
    return {storable(name): number for name, number in value.items()}


def _time(value: object, name: str) -> str:
    text = _text(value, name)
    if text:
        try:
            parsed = time.strptime(text, _FORMAT)
        except ValueError as error:
            raise ValueError(f"{name} is {_shown(text)}, which is no time") from error
        return time.strftime(_FORMAT, parsed)  # with all zeros, so that texts sort by time
    return text


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
