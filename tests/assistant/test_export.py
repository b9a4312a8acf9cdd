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


DAY = "2026-01-31T18:00:00Z"


def sample(content="The moon --> pulls.", uid="0" * 32):
    about = Conversation(3, uid, "tides --> why", "a model", None, "Be -->", "", 0, 2, DAY, DAY)
    said = [
        Message("user", content, given=f"[x]\n{content}", created=DAY),
        Message("assistant", content, None, "stopped", "a model", 3, {"steps": 2}, ("a:1",), DAY),
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
        new = import_into(store, kept)
        assert [one.how for one in new] == ["new", "new"]
        assert [one.how for one in import_into(store, kept)] == ["known", "known"]
        read = store.conversations.messages(new[1].conversation)
        assert [m.content for m in read] == ["two", "two"]
        assert store.conversations.latest().updated == DAY


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


def damaged(**changes):
    """An export whose first message or conversation has other values."""
    data = json.loads(as_json([sample()]))
    one = data["conversations"][0]
    for name, value in changes.items():
        (one if name in one else one["messages"][1])[name] = value
    return json.dumps(data)


HUGE = 10**400

DAMAGED = [
    *({name: value} for name in ("title", "model", "system", "summary") for value in (1, None, [])),
    {"persona": 1},
    {"summarized": "x"},
    {"summarized": -1},
    {"summarized": 3},
    {"summarized": HUGE},
    {"created": "yesterday"},
    {"updated": 7},
    {"messages": 3},
    {"messages": ["x"]},
    {"role": "system"},
    {"role": ["user"]},
    {"content": None},
    {"given": 3},
    {"cut": "elsewhere"},
    {"cut": []},
    {"tokens": HUGE},
    {"tokens": True},
    {"tokens": "3"},
    {"stats": [1]},
    {"stats": {"steps": HUGE}},
    {"stats": {"steps": float("nan")}},
    {"stats": {"seconds": float("inf")}},
    {"stats": {"steps": {"a": 1}}},
    {"sources": "a.md"},
    {"sources": [1]},
]


@pytest.mark.parametrize("changes", DAMAGED, ids=str)
def test_a_wrong_value_is_refused_in_one_line(tmp_path, changes):
    (tmp_path / "x.json").write_text(damaged(**changes))
    with pytest.raises(ConfigError, match="is no conversation that aded-edge exported") as caught:
        read_file(tmp_path / "x.json")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_file_that_is_nested_too_deeply_is_refused(tmp_path):
    (tmp_path / "x.json").write_text('{"conversations":' + "[" * 100_000)
    with pytest.raises(ConfigError, match=r"x\.json"):
        read_file(tmp_path / "x.json")


def test_texts_that_sqlite_handles_with_care_are_imported(tmp_path):
    text = damaged(content="a\0b \ud800 <!-- aded-edge end -->", title="x\n<!-- aded-edge end -->")
    (tmp_path / "x.json").write_text(text)
    with Store.open(tmp_path / "store.db") as store:
        for how in ("new", "known"):
            (taken,) = import_into(store, read_file(tmp_path / "x.json"))
            assert taken.how == how
        kept = (taken.conversation, store.conversations.messages(taken.conversation))
        assert kept[1][1].content == "a\0b ? <!-- aded-edge end -->"
        assert store.conversations.by_day()[0].tokens == 3
    export_file(tmp_path / "x.md", [kept])
    assert kept_parts(read_file(tmp_path / "x.md")) == kept_parts([kept])


def test_a_hundred_thousand_messages_are_imported(tmp_path):
    about, said = sample()
    with Store.open(tmp_path / "store.db") as store:
        (taken,) = import_into(store, [(about, said * 50_000)])
        assert taken.conversation.messages == 100_000
        assert import_into(store, [(about, said * 50_000)])[0].how == "known"
