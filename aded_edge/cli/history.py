"""`history`: conversations listed, shown, searched, exported, imported and deleted.

Knows tables and files. Does not know how a conversation is found or kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import click

from aded_edge.assistant.export import as_json, as_markdown, export_file, import_into, read_file
from aded_edge.assistant.kv_states import KVStates
from aded_edge.errors import ConfigError, StoreError
from aded_edge.shown import local, one_line, visible
from aded_edge.store import REMNANTS, Conversation, Deleted, Message, Store, default_store_path

from .options import JSON, STORE, FilePath, Group
from .output import MERGED, agreed, console, data, plain_table, print_json, say

NUMBER = click.IntRange(1, 2**63 - 1)
"""The number of a conversation; SQLite counts no further."""


@contextmanager
def opened(path: Path, create: bool = False) -> Iterator[Store]:
    """The store in a file.

    Raises:
        StoreError: there is none yet, or it cannot be opened.
    """
    if not create and not path.exists():
        raise StoreError(f"{path} does not exist yet; the first chat makes it")
    with Store.open(path) as store:
        yield store


@click.group(cls=Group)
def history() -> None:
    """Conversations: list, show, search, export, import, delete."""


@history.command("list")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
@STORE
@JSON
def list_(store: Path, limit: int, json_: bool) -> None:
    """List conversations, newest first."""
    with opened(store) as file:
        found = file.conversations.recent(limit)
        count = file.conversations.count()
    if json_:
        print_json([asdict(one) for one in found])
        return
    table = plain_table("id", "updated", "messages", "model", "title", right=("id", "messages"))
    for one in found:
        when = local(one.updated)
        table.add_row(
            str(one.id), when, str(one.messages), one_line(one.model), one_line(one.title)
        )
    console().print(table)
    if count > len(found):
        say(f"{count - len(found)} more; --limit shows them")


@history.command("show")
@click.argument("number", type=NUMBER)
@STORE
@JSON
def show(store: Path, number: int, json_: bool) -> None:
    """Show one conversation."""
    with opened(store) as file:
        conversation, messages = _find(file, number)
    if json_:
        data(visible(as_json([(conversation, messages)])))
        return
    from .chat.output import drawn  # the chat is imported only where it is needed

    out = console()
    out.rule(one_line(f"{conversation.id}: {conversation.title}"))
    for message in messages:
        if message.role == "user":
            out.print(f"\n> {message.content}\n", style="bold")
        else:
            out.print(*drawn(message.content), sep="")
            ending = " (stopped)" if message.cut == "stopped" else ""
            sources = f", drew on {', '.join(message.sources)}" if message.sources else ""
            out.print(f"{local(message.created)}{one_line(sources)}{ending}", style="dim")


@history.command("search")
@click.argument("words", nargs=-1, required=True)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
@STORE
@JSON
def search(store: Path, words: tuple[str, ...], limit: int, json_: bool) -> None:
    """Find messages that hold all of these words, best first."""
    with opened(store) as file:
        hits = file.conversations.search(" ".join(words), limit)
    if json_:
        print_json([asdict(hit) for hit in hits])
        return
    if not hits:
        say("nothing was found", err=True)
    table = plain_table(
        "conversation", "day", "role", "text", right=("conversation",), header=False
    )
    for hit in hits:
        table.add_row(str(hit.conversation), local(hit.created, day=True), hit.role, hit.snippet)
    console().print(table)


@history.command("export")
@click.argument("numbers", type=NUMBER, nargs=-1)
@click.option("--out", type=FilePath, help="A .md or .json file. Default: to stdout.")
@STORE
@JSON
def export(store: Path, numbers: tuple[int, ...], out: Path | None, json_: bool) -> None:
    """Write conversations as Markdown or JSON; without numbers all of them."""
    with opened(store) as file:
        wanted: Sequence[int] = numbers or [one.id for one in file.conversations.recent(-1)]
        kept = [_find(file, number) for number in wanted]
    if out is not None:
        export_file(out, kept)
        say(f"{len(kept)} conversations written to {out}", err=True)
    else:
        data(visible(as_json(kept)) if json_ else as_markdown(kept))


@history.command("import")
@click.argument("paths", type=FilePath, nargs=-1, required=True)
@STORE
def import_(store: Path, paths: tuple[Path, ...]) -> None:
    """Import exported conversations. What the store has already stays as it is."""
    kept = [one for path in paths for one in read_file(path)]
    with opened(store, create=True) as file:
        taken = import_into(file, kept)
    for one in taken:
        if one.how != "known":
            added = "" if one.how == "new" else _ADDED[one.how].format(one.messages)
            say(one_line(f"{one.conversation.id}: {one.conversation.title}{added}"))
    known = sum(one.how == "known" for one in taken)
    if known:
        say(f"{known} were already in the store", err=True)


_ADDED = {
    "continued": " ({} new messages)",
    "beside": " (differs from the one in the store, which is kept too)",
}


@history.command("delete")
@click.argument("numbers", type=NUMBER, nargs=-1)
@click.option("--yes", is_flag=True, help="Do not ask.")
@STORE
def delete(store: Path, numbers: tuple[int, ...], yes: bool) -> None:
    """Delete conversations for good, and what the matrix learned only from them.

    Without a number, overwrite what earlier deletions left in the store's file.
    """
    with opened(store) as file:
        if not numbers:
            say("overwritten" if file.scrub() else REMNANTS, err=True)
            return
        found = [_find(file, number)[0] for number in numbers]
        for one in found:
            say(one_line(f"{one.id}: {one.title} ({one.messages} messages)"), err=True)
        if not yes:
            agreed("Delete for good?", abort=True)
        for one in found:
            _delete(file, one)


def _delete(file: Store, conversation: Conversation) -> None:
    deleted = file.conversations.delete(conversation)
    say(f"deleted {conversation.id}, and what the matrix learned only from it")
    tell_what_is_left(deleted, conversation.uid)


def tell_what_is_left(deleted: Deleted, *uids: str) -> None:
    """Delete saved KV states that hold what was deleted, and name each copy that is left.

    Args:
        deleted: what the store says about it.
        uids: conversations that were deleted themselves.
    """
    states = KVStates()
    gone = [states.remove(uid) for uid in (*uids, *(one.uid for one in deleted.given))]
    # Earlier versions kept what was typed in this file.
    typed = default_store_path().with_name("typed.txt")
    with suppress(OSError):
        typed.unlink(missing_ok=True)
    for line in _what_is_left(deleted, all(gone) and not typed.exists(), states, typed):
        say(line, err=True)


def _what_is_left(
    deleted: Deleted, files_gone: bool, states: KVStates, typed: Path
) -> Iterator[str]:
    if deleted.given:
        numbers = " ".join(str(one.id) for one in deleted.given)
        yield (
            f"texts of it were given in {numbers}, and are removed there; answers there may repeat "
            f"them: aded-edge history show or delete {numbers}"
        )
    if deleted.merged:
        yield MERGED
    if not files_gone:
        yield f"a file could not be deleted: delete {states.folder} and {typed} by hand"
    if deleted.remnants:
        yield REMNANTS


def _find(file: Store, number: int) -> tuple[Conversation, list[Message]]:
    conversation = file.conversations.get(number)
    if conversation is None:
        raise ConfigError(f"there is no conversation {number}; `aded-edge history list` shows all")
    return conversation, file.conversations.messages(conversation)
