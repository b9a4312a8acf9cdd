"""Files that are imported hold anything: conversations are read, or the file is refused."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aded_edge.assistant.export import as_json, as_markdown, import_into, read_file
from aded_edge.errors import ConfigError, StoreError
from aded_edge.store import Store
from tests.assistant.test_export import sample

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9))
VALUES = st.recursive(
    SCALARS, lambda v: st.one_of(st.lists(v, max_size=3), st.dictionaries(st.text(max_size=5), v))
)
FIELDS = [
    *("uid", "title", "model", "persona", "system", "summary", "summarized", "created", "updated"),
    *("role", "content", "given", "cut", "tokens", "stats", "sources"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("import")


def take_in(path):
    """Read and import a file; every error but a refusal fails the test."""
    try:
        found = read_file(path)
    except ConfigError:
        return
    with Store.in_memory() as store:
        try:
            taken = import_into(store, found)
        except StoreError:  # a field that SQLite refuses: read_file should have refused it
            return
        for one in taken:
            store.conversations.messages(one.conversation)


@settings(max_examples=200)
@given(st.sampled_from(FIELDS), VALUES, st.booleans(), st.booleans())
def test_any_value_in_any_field(place, field, value, in_message, markdown):
    data = json.loads(as_json([sample()]))
    one = data["conversations"][0]
    (one["messages"][1] if in_message else one)[field] = value
    if markdown:
        about = {k: v for k, v in one.items() if k != "messages"}
        lines = [f"<!-- aded-edge conversation {json.dumps(about)} -->"]
        lines += [f"<!-- aded-edge message {json.dumps(m)} -->\n\nx\n" for m in one["messages"]]
        text = "\n".join([*lines, "<!-- aded-edge end -->", ""])
    else:
        text = json.dumps(data)
    (place / "x").write_text(text, encoding="utf-8")
    take_in(place / "x")


@settings(max_examples=150)
@given(st.booleans(), st.integers(0, 10**6), st.integers(0, 10**6), st.binary(max_size=6))
def test_an_export_that_was_cut_and_overwritten(place, markdown, start, gap, put):
    data = (as_markdown if markdown else as_json)([sample()]).encode()
    at = start % (len(data) + 1)
    (place / "x").write_bytes(data[:at] + put + data[at + gap % 40 :])
    take_in(place / "x")


@pytest.mark.parametrize("deep", ["[", '{"conversations":[', '{"a":'])
def test_a_file_that_nests_without_end_is_refused(place, deep):
    (place / "x").write_text("{" + deep * 100_000)
    take_in(place / "x")
    (place / "x").write_text('{"conversations": ' + "[" * 100_000)
    take_in(place / "x")
