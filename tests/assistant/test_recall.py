"""Recall: texts that match a question, within the budget."""

import pytest

from aded_edge.assistant.recall import Recalled, Searched, cited, given, recall, shared, standing
from aded_edge.store import Conversation, Document, Memory, Message, Store


def size(text):
    return len(text.split())


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "store.db") as store:
        yield store


def asked(store, question, budget=1000, known="", attached=()):
    searched = Searched(store, attached)
    return recall(question, searched, size=size, budget=budget, known=known)


def test_all_kinds_are_found_files_first(store):
    store.notes.put(Document("/n/tides.md", "1", 1, 1), [(3, "spring tides and the moon")])
    store.memories.add("I measure tides at the moon pier")
    said = [Message("user", "tides follow the moon")]
    store.conversations.add(Conversation(0, "u", "tides", "m"), said)
    found = asked(store, "Why do tides follow the moon?")
    assert [item.kind for item in found] == ["file", "memory", "conversation"]
    assert found[0].where == "/n/tides.md:3"
    assert str(found[0]) == "[file, /n/tides.md:3] spring tides and the moon"
    assert str(found[2]).startswith("[earlier conversation, 20")
    assert all(item.tokens == size(str(item)) for item in found)


def test_one_common_word_is_not_enough(store):
    store.memories.add("the moon is made of cheese")
    assert asked(store, "Which tides does the moon make in spring?") == []
    assert len(asked(store, "moon?")) == 1


@pytest.mark.parametrize(
    ("memory", "question"),
    [
        ("我的护照在蓝色抽屉里", "护照在哪里?"),
        ("会議は三時に始まる", "会議はいつですか?"),
        ("すしを食べた", "すしはどこ?"),
        ("고양이 이름은 나비", "고양이는 어디 있어요?"),
        ("รหัสผ่านของโรงรถคือ 4711", "รหัสผ่านโรงรถคืออะไร"),
        ("пароль от гаража 4711", "Какой пароль у гаража?"),
        ("गैराज का पासवर्ड 4711", "गैराज का पासवर्ड क्या है?"),
        ("كلمة السر للمرآب", "ما هي كلمة السِّر؟"),
        ("Die Straße nach Köln", "WO IST DIE STRASSE NACH KÖLN?"),
        ("Python is for work, C++ for play", "What about C++?"),
        ("🦄 is my sister", "who is 🦄?"),
        ("Ella may live in Rome", "Where does Ella live?"),
        ("the xylophone teacher", " ".join(f"w{i}" for i in range(99)) + " xylophone teacher"),
    ],
)
def test_a_memory_is_recalled_in_every_script(store, memory, question):
    store.memories.add("zebra")
    store.memories.add(memory)
    assert [item.text for item in asked(store, question)] == [memory]


@pytest.mark.parametrize(
    ("memory", "question"),
    [
        ("Der Hund ist krank", "Wo ist der Schlüssel?"),
        ("La casa es grande y es la mía", "¿Dónde está la llave y qué es?"),
        ("я не был там", "что я не знаю о там?"),
        ("我的猫在那里", "我的电脑在哪里?"),
        ("yes, it is", "Yes, is it?"),
        ("how are you", "How are you?"),
    ],
)
def test_stop_words_alone_are_not_enough(store, memory, question):
    store.memories.add(memory)
    assert asked(store, question) == []


def test_the_budget_is_kept(store):
    for n in range(9):
        store.memories.add(f"moon tides number {n}")
    found = asked(store, "moon tides", budget=15)
    assert 0 < sum(item.tokens for item in found) <= 15
    assert asked(store, "moon tides", budget=0) == []


def test_what_is_known_is_not_given_again(store):
    store.memories.add("moon tides")
    found = asked(store, "moon tides")
    assert asked(store, "moon tides", known=f"x\n{found[0].text}") == []


def test_standing_memories_are_the_newest_that_fit():
    memories = [Memory(n, f"memory {n}", "2026") for n in range(5)]
    assert [item.where for item in standing(memories, size, 6)] == ["2", "3", "4"]


def test_a_question_without_finds_is_itself():
    assert given("why?", []) == "why?"
    assert given("why?", [Recalled("file", "text", "a.md:1", "", 3)]).endswith(
        "a.md:1] text\n\nwhy?"
    )


def test_an_answer_cites_what_it_drew_on():
    recalled = [
        Recalled("file", "The harbour closes at nine in winter.", "/n/harbour.md:4", "", 9),
        Recalled("file", "Bread needs flour and water.", "/n/bread.md:1", "", 9),
        Recalled("memory", "harbour closes nine winter", "1", "", 9),
    ]
    answer = "In winter it closes at nine o'clock, the harbour."
    assert cited(answer, "When does it shut?", recalled) == ("/n/harbour.md:4",)
    asked = "When does the harbour close in winter?"
    assert cited("The harbour closes at nine in winter.", asked, recalled) == ("/n/harbour.md:4",)
    assert cited("I do not know when the harbour closes in winter.", asked, recalled) == ()
    assert cited("I do not know.", "harbour closes nine winter?", recalled) == ()
    assert cited("See bread.md.", "?", recalled) == ("/n/bread.md:1",)


def test_forms_of_a_word_agree():
    assert shared(["measured", "tide"], "measuring the tides") == 1
    assert shared(["closing"], "it closed") == 0
    assert shared(["closing"], "it closing") == 1
