"""Any text can be searched for: hits or none, and no error of the query language."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from aded_edge.store import Conversation, Message, Store
from aded_edge.store.full_text import terms

STORE = Store.in_memory()
STORE.conversations.add(
    Conversation(0, "0" * 32, "title", "model"),
    [Message("user", "tides and the moon"), Message("assistant", "the moon pulls")],
)


@settings(max_examples=400)
@given(st.text(max_size=60))
@example('"')
@example("moon OR NEAR(")
@example("a* -b ^c {d}:e")
@example("\0moon")
@example("\ud800")
@example("word " * 5000)
def test_any_text_is_searched_for(text):
    STORE.conversations.search(text)
    STORE.conversations.match(terms(text))
    STORE.notes.match(terms(text), 5)
    STORE.memories.match(terms(text), 5)
