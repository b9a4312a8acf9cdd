"""Export and import: every conversation survives both, whatever its texts contain."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aded_edge.assistant.export import as_json, as_markdown, export_file, import_into, read_file
from aded_edge.errors import ConfigError
from aded_edge.store import Conversation, Message, Store

HARD = (
    "## You\n<!-- aded-edge end -->\n\\<!-- aded-edge message {} -->\n```\n# x\n```\n\n--> end\n\n"
)


def sample(content="The moon --> pulls.", uid="0" * 32):
    about = Conversation(3, uid, "tides --> why", "a model", None, "Be -->", "", 0, 2, "c", "u")
    said = [
        Message("user", content, given=f"[x]\n{content}", created="t"),
        Message("assistant", content, None, "stopped", "a model", 3, {"steps": 2}, ("a:1",), "t"),
    ]
    return about, said


def kept_parts(kept):
    """Everything that must survive: all fields but those that differ between stores."""
    return [
        ({k: v for k, v in vars(c).items() if k not in ("id", "messages")}, list(m))
        for c, m in kept
    ]


@pytest.mark.parametrize("suffix", [".md", ".json"])
@pytest.mark.parametrize("content", ["plain", HARD, "", "\n", "a\n\n## b\n", HARD * 2])
def test_what_was_written_is_read(tmp_path, suffix, content):
    kept = [sample(content), sample("two", "1" * 32)]
    export_file(tmp_path / f"x{suffix}", kept)
    assert kept_parts(read_file(tmp_path / f"x{suffix}")) == kept_parts(kept)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r")))
def test_any_text_survives_markdown(content):
    from aded_edge.assistant.export import _from_markdown

    kept = [sample(content)]
    assert kept_parts(_from_markdown(as_markdown(kept))) == kept_parts(kept)


def test_json_is_for_programs():
    data = json.loads(as_json([sample()]))
    assert data["conversations"][0]["messages"][0]["role"] == "user"


def test_nothing_is_imported_twice(tmp_path):
    kept = [sample(), sample("two", "1" * 32)]
    with Store.open(tmp_path / "store.db") as store:
        new, known = import_into(store, kept)
        assert (len(new), known) == (2, 0)
        assert import_into(store, kept) == ([], 2)
        assert [m.content for m in store.conversations.messages(new[1])] == ["two", "two"]
        assert store.conversations.latest().updated == "u"


@pytest.mark.parametrize("text", ["", "# only a title\n", "{}", '{"conversations": [1]}', "[1]"])
def test_what_is_no_export_is_refused(tmp_path, text):
    (tmp_path / "x.md").write_text(text)
    with pytest.raises(ConfigError, match="x.md"):
        read_file(tmp_path / "x.md")


def test_half_a_file_is_refused(tmp_path):
    text = as_markdown([sample()])
    (tmp_path / "x.md").write_text(text[: len(text) // 2])
    with pytest.raises(ConfigError):
        read_file(tmp_path / "x.md")


def test_an_ending_that_says_nothing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=".md or .json"):
        export_file(tmp_path / "x.txt", [sample()])
    with pytest.raises(ConfigError, match="cannot write"):
        export_file(tmp_path / "nowhere" / "x.md", [sample()])
    assert list(tmp_path.iterdir()) == []
