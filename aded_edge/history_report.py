"""`history`: conversations listed, shown, searched, exported, imported and deleted.

Knows tables and files. Does not know how anything is found or kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from .assistant.kv_states import KVStates
from .config import check_store
from .errors import ConfigError, StoreError
from .history import as_json, as_markdown, export_file, import_into, read_file
from .store import Conversation, Message, Store, default_store_path


@contextmanager
def opened(store: str, write: bool = False) -> Iterator[Store]:
    """The store that a command line names.

    Raises:
        StoreError: there is none yet, or it cannot be opened.
    """
    path = check_store(store, default_store_path())
    assert path is not None, "a name is no None"
    if not write and not path.exists():
        raise StoreError(f"{path} does not exist yet; the first chat makes it")
    with Store.open(path, read_only=False) as file:
        yield file


def list_(store: str, limit: int, json_: bool) -> None:
    """Prints conversations, newest first."""
    with opened(store) as file:
        found = file.conversations.recent(limit)
        count = file.conversations.count()
    if json_:
        click.echo(json.dumps([asdict(one) for one in found], ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("id", "updated", "messages", "model", "title"):
        table.add_column(name, justify="right" if name in ("id", "messages") else "left")
    for one in found:
        when = one.updated[:16].replace("T", " ")
        table.add_row(str(one.id), when, str(one.messages), one.model, one.title)
    _console().print(table)
    if count > len(found):
        click.echo(f"{count - len(found)} more; --limit shows them")


def show(store: str, number: int, json_: bool) -> None:
    """Prints one conversation."""
    with opened(store) as file:
        kept = [_find(file, number)]
    if json_:
        click.echo(as_json(kept), nl=False)
        return
    console = _console()
    for conversation, messages in kept:
        console.rule(f"{conversation.id}: {conversation.title}")
        for message in messages:
            if message.role == "user":
                console.print(f"\n> {message.content}\n", style="bold")
            else:
                console.print(Markdown(message.content))
                ending = " (stopped)" if message.cut == "stopped" else ""
                sources = f", drew on {', '.join(message.sources)}" if message.sources else ""
                console.print(f"{message.created}{sources}{ending}", style="dim")


def search(store: str, words: Sequence[str], limit: int, json_: bool) -> None:
    """Prints what was found."""
    with opened(store) as file:
        hits = file.conversations.search(" ".join(words), limit)
    if json_:
        click.echo(json.dumps([asdict(hit) for hit in hits], ensure_ascii=False))
        return
    if not hits:
        click.echo("nothing was found", err=True)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right")
    for hit in hits:
        table.add_row(str(hit.conversation), hit.created[:10], hit.role, hit.snippet)
    _console().print(table)


def export(store: str, numbers: Sequence[int], out: Path | None, json_: bool) -> None:
    """Writes conversations to a file or to stdout; without numbers all of them."""
    with opened(store) as file:
        wanted = numbers or [one.id for one in file.conversations.recent(-1)]
        kept = [_find(file, number) for number in wanted]
    if out is not None:
        export_file(out, kept)
        click.echo(f"{len(kept)} conversations written to {out}", err=True)
    else:
        click.echo((as_json if json_ else as_markdown)(kept), nl=False)


def import_(store: str, paths: Sequence[Path]) -> None:
    """Adds conversations from files."""
    kept = [one for path in paths for one in read_file(path)]
    with opened(store, write=True) as file:
        new, known = import_into(file, kept)
    for one in new:
        click.echo(f"{one.id}: {one.title}")
    if known:
        click.echo(f"{known} were there already", err=True)


def delete(store: str, numbers: Sequence[int], yes: bool) -> None:
    """Deletes conversations, and what the matrix learned of them alone."""
    with opened(store) as file:
        found = [_find(file, number)[0] for number in numbers]
        for one in found:
            click.echo(f"{one.id}: {one.title} ({one.messages} messages)", err=True)
        if not yes:
            click.confirm("Delete for good?", abort=True, err=True)
        for one in found:
            _delete(file, one)


def _delete(file: Store, conversation: Conversation) -> None:
    whole = file.conversations.delete(conversation)
    KVStates().remove(conversation.uid)
    click.echo(f"deleted {conversation.id}, and what the matrix learned of it alone")
    if not whole:
        click.echo(
            "some of what the matrix learned of it is summed with other conversations by now and "
            "cannot be taken back",
            err=True,
        )


def _find(file: Store, number: int) -> tuple[Conversation, list[Message]]:
    conversation = file.conversations.get(number)
    if conversation is None:
        raise ConfigError(f"there is no conversation {number}; `aded_edge history list` shows all")
    return conversation, file.conversations.messages(conversation)


def _console() -> Console:
    return Console(highlight=False, markup=False)
