"""The contents of an assistant's messages, in memory and on disk."""

from aded_edge.store import Store


def contents(assistant):
    return [message.content for message in assistant.messages]


def on_disk(tmp_path, number=1):
    with Store.open(tmp_path / "store.db") as store:
        kept = store.conversations.get(number)
        return [] if kept is None else [m.content for m in store.conversations.messages(kept)]
