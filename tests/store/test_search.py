"""Words are found in every script and Unicode form, in messages, notes and memories."""

from __future__ import annotations

import sqlite3
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aded_edge.store import Conversation, Document, Message, Store, terms
from aded_edge.store.tokens import indexed, located, tokens
from tests.store.test_migrations import made_by

FOUND = [
    ("我用Python写代码", ["代码", "python", "码", "写代"]),
    ("明日は東京でｶﾞｰﾃﾞﾝ展", ["東京", "ガーデン"]),
    (
        "고등학교에서 한국어를 배운다",
        ["학교", "한국", "하", unicodedata.normalize("NFD", "한국어")],
    ),
    ("ฉันเรียนภาษาไทยทุกวัน", ["ภาษา", "ไทย", "ภาษา ไทย"]),
    ("ຂ້ອຍຮຽນພາສາລາວ", ["ພາສາ"]),
    ("ខ្ញុំរៀន\u200bភាសាខ្មែរ", ["ភាសា", "ភាសាខ្មែរ"]),
    ("ကျွန်တော်မြန်မာစာလေ့လာတယ်", ["မြန်မာ"]),
    ("मैं हिन्दी सीखता हूँ", ["हिन्दी", "हिन्"]),
    ("السَّلامُ عليكم", ["السلام", "عليـكم"]),
    ("שָׁלוֹם עולם", ["שלום"]),
    ("Ο ΔΡΟΜΟΣ του Οδυσσέα", ["δρομος", "οδυσσεα"]),
    ("Die STRASSE in Łódź", ["straße", "lodz"]),
    ("İSTANBUL ve Isparta", ["istanbul", "ısparta"]),
    ("Москва, ёлка", ["МОСКВА", "елка"]),
    ("the ﬁsh felt hap\u00adpi\u200bness", ["fish", "happine", "happiness"]),
    ("a b\u0308c ＦＵＬＬ", ["bc", "full", "b\u0308c"]),
    ("C++ and x86-64", ["c++", "x86-64", "x86"]),
    ("call foo.bar(snake_case_name)", ["foo.bar()", "snake_case_name", "case"]),
    ("<user@example.org> on 2026-11-25 for €5 🦄 :-)", ["user@example.org", "€5", "🦄", ":-)"]),
    ("who is it? not me", ["who is it", "not", '"not"']),
]


@pytest.mark.parametrize(("text", "queries"), FOUND)
def test_a_word_is_found_as_people_type_it(store: Store, text: str, queries: list[str]) -> None:
    store.conversations.add(Conversation(0, "u", "t", "m"), [Message("user", text)])
    store.conversations.add(Conversation(0, "v", "t", "m"), [Message("user", "zebra")])
    store.notes.put(Document("/n", "1", 1, 1), [(1, text), (2, "zebra")])
    for query in queries:
        assert [hit.content for hit in store.conversations.search(query)] == [text], query
        assert [passage.text for passage in store.notes.search(query, 9)] == [text], query


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4), st.data())
def test_every_form_of_every_word_finds_its_text(words: list[str], data: st.DataObject) -> None:
    with Store.in_memory() as store:
        text = " ".join(words).encode("utf-8", "replace").decode()
        store.conversations.add(Conversation(0, "u", "t", "m"), [Message("user", text)])
        word = data.draw(st.sampled_from(words)).encode("utf-8", "replace").decode()
        form = data.draw(st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
        case = data.draw(st.sampled_from([str.upper, str.lower, str.casefold]))
        formed = unicodedata.normalize(form, word)
        begun = formed[: data.draw(st.integers(1, len(formed)))]
        for query in (word, formed, case(word), begun):
            if tokens(query):
                assert store.conversations.search(query), query


def test_every_character_is_the_same_in_every_form() -> None:
    for code in (*range(0xD800), *range(0xE000, 0x30000)):
        character = chr(code)
        forms = (
            character.upper(),
            character.lower(),
            unicodedata.normalize("NFC", character),
            unicodedata.normalize("NFKD", character),
        )
        long = f"{'a' * 50}{character}b"
        assert " ".join(token for token, _ in located(long)) == indexed(long), hex(code)
        assert {indexed(form) for form in forms} == {indexed(character)}, hex(code)


def test_an_older_store_is_searched(path: Path) -> None:
    made_by(path, 4)
    conn = sqlite3.connect(path)
    conn.execute("INSERT INTO conversations (uid, title, model) VALUES ('u', 't', 'm')")
    conn.execute(
        "INSERT INTO messages (conversation, role, content) VALUES (1, 'user', '我用代码')"
    )
    conn.execute("INSERT INTO memories (text) VALUES ('happiness')")
    conn.commit()
    conn.close()
    with Store.open(path) as store:
        assert len(store.conversations.search("代码")) == 1
        assert len(store.memories.match(["happiness"], 9)) == 1


def test_deleted_words_leave_the_index(store: Store, path: Path) -> None:
    kept = store.conversations.add(Conversation(0, "u", "t", "m"), [Message("user", "Xyzzy 秘密")])
    memory = store.memories.add("plugh")
    store.conversations.delete(kept)
    store.memories.remove(memory.id)
    store.close()
    everything = b"".join(file.read_bytes() for file in path.parent.iterdir()).lower()
    assert [word for word in ("xyzzy", "秘", "plugh") if word.encode() in everything] == []


def test_a_decisive_word_behind_many_others_is_searched_for(store: Store) -> None:
    kept = store.memories.add("the xylophone teacher is Ms Abernathy")
    for number in range(20):
        store.memories.add(f"word{number} of many")
        store.memories.add(f"word{number} of others")
    question = " ".join(f"word{number}" for number in range(20)) + " xylophone teacher"
    assert store.memories.match(terms(question), 12)[0] == kept


def test_an_excerpt_shows_the_words_of_a_long_text(store: Store) -> None:
    text = "前面的话。" * 100 + "Straße nach\nKöln" + " and so on" * 100
    store.conversations.add(Conversation(0, "u", "t", "m"), [Message("user", text)])
    snippet = store.conversations.search("strasse")[0].snippet
    assert "Straße nach Köln" in snippet
    assert len(snippet) < 250
    assert snippet.startswith("… ")
    store.conversations.add(Conversation(0, "v", "t", "m"), [Message("user", f"{text} :-) {text}")])
    assert ":-)" in store.conversations.search(":-)")[0].snippet


def test_stop_words_are_those_of_the_language_of_the_question() -> None:
    assert terms("Wo ist der Schlüssel?") == ["schlussel"]
    assert terms("Où est la clé de la maison ?") == ["cle", "maison"]
    assert terms("Where did the car hit Die Hard?") == ["car", "hit", "die", "hard"]
    assert terms("我的会议") == ["会 议"]
