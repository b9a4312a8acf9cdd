"""The assistant as a program uses it, on a tiny model and a real store."""

import logging
import threading

import pytest

from aded_edge.assistant import Assistant, memory_in
from aded_edge.assistant.settings import Persona
from aded_edge.errors import ConfigError, PromptError
from aded_edge.store import Store


def contents(assistant):
    return [message.content for message in assistant.messages]


def on_disk(tmp_path, number=1):
    with Store.open(tmp_path / "store.db") as store:
        kept = store.conversations.get(number)
        return [] if kept is None else [m.content for m in store.conversations.messages(kept)]


# --- turns ----------------------------------------------------------------------------------


def test_a_turn_is_on_disk_when_the_answer_ends(assistant, say, tmp_path):
    answer = say(assistant, "Hello there.")
    assert answer
    assert on_disk(tmp_path) == ["Hello there.", answer]
    message = assistant.messages[-1]
    assert message.tokens == assistant.stats.tokens
    assert message.stats["steps"] == assistant.stats.steps
    assert message.model == assistant.conversation.model
    assert message.cut in (None, "limit")
    assert assistant.conversation.title == "Hello there."


def test_an_answer_depends_on_what_was_said_before(assistant, say):
    first = say(assistant, "Hello there.")
    second = say(assistant, "Hello there.")
    assistant.new()
    assert say(assistant, "Hello there.") == first != second


def test_an_answer_that_is_stopped_is_kept_as_far_as_it_came(assistant, tmp_path):
    stream = assistant.ask("Tell me something.")
    said = [next(stream), next(stream)]
    stream.close()
    assert assistant.messages[-1].cut == "stopped"
    assert on_disk(tmp_path) == ["Tell me something.", "".join(said)]


def test_one_that_was_stopped_before_it_began_leaves_nothing(assistant, tmp_path):
    assistant.ask("Tell me something.").close()
    assert assistant.messages == []
    assert on_disk(tmp_path) == []


def test_an_answer_is_made_anew_in_its_place(open_assistant, say, tmp_path):
    assistant = open_assistant(sampling={"temperature": 1.5, "max_tokens": 24})
    say(assistant, "one")
    before = say(assistant, "two")
    after = "".join(assistant.regenerate())
    assert after != before
    assert on_disk(tmp_path)[2:] == ["two", after] == contents(assistant)[2:]


def test_a_question_is_changed_in_its_place(assistant, say, tmp_path):
    say(assistant, "one")
    answer = "".join(assistant.edit("two"))
    assert on_disk(tmp_path) == ["two", answer] == contents(assistant)


def test_a_turn_is_taken_back(assistant, say, tmp_path):
    say(assistant, "one")
    say(assistant, "two")
    assert assistant.undo().content == "two"
    assert len(on_disk(tmp_path)) == 2 == len(assistant.messages)
    assistant.undo()
    for nothing in (assistant.undo, lambda: list(assistant.regenerate())):
        with pytest.raises(ConfigError, match="nothing was asked"):
            nothing()


# --- conversations --------------------------------------------------------------------------


def test_the_last_conversation_goes_on(open_assistant, say):
    first = open_assistant()
    one = say(first, "one")
    first.close()
    second = open_assistant()
    assert second.messages == []
    assert second.resume().title == "one"
    assert contents(second) == ["one", one]
    going_on = say(second, "two")
    second.close()
    third = open_assistant(store=None, kv_folder=None)
    say(third, "one")
    assert say(third, "two") == going_on


def test_any_conversation_goes_on(assistant, say):
    say(assistant, "one")
    assistant.new()
    say(assistant, "two")
    assert [c.title for c in assistant.conversations()] == ["two", "one"]
    assert assistant.resume(1).title == "one"
    assert contents(assistant)[0] == "one"
    with pytest.raises(ConfigError, match="no conversation 99"):
        assistant.resume(99)
    assert contents(assistant)[0] == "one"


def test_what_was_said_is_found(assistant, say):
    say(assistant, "Where is the lighthouse?")
    assert [hit.conversation for hit in assistant.search("lighthouse")] == [1]
    assert assistant.search("nowhere") == []


def test_a_private_conversation_leaves_no_trace(open_assistant, say, tmp_path):
    kept = open_assistant()
    kept.remember("the user likes tea")
    say(kept, "one")
    kept.close()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    private = open_assistant(keep=False)
    say(private, "Is there any tea here? SECRET")
    assert [use.text for use in private.used] == ["the user likes tea"]
    assert not private.kept
    assert private.search("one") != []
    private.close()
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert b"SECRET" not in b"".join(after.values())
    assert {p: b for p, b in after.items() if p.suffix == ".db"} == {
        p: b for p, b in before.items() if p.suffix == ".db"
    }
    with pytest.raises(ConfigError, match="no-log"):
        open_assistant(keep=False).remember("x")


def test_two_assistants_on_one_store_lose_nothing(open_assistant, say, tmp_path):
    both = [open_assistant(), open_assistant()]
    threads = [
        threading.Thread(target=lambda a=a, i=i: [say(a, f"{i} {n}") for n in range(4)])
        for i, a in enumerate(both)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, assistant in enumerate(both):
        assert on_disk(tmp_path, assistant.conversation.id)[::2] == [f"{i} {n}" for n in range(4)]


def test_a_store_that_cannot_be_used_stops_nothing(open_assistant, say, tmp_path, caplog):
    (tmp_path / "store.db").write_bytes(b"no database at all" * 100)
    with caplog.at_level(logging.WARNING, "aded_edge"):
        assistant = open_assistant()
        assert say(assistant, "one")
    assert sum("not a SQLite database" in line for line in caplog.messages) == 1
    assert (tmp_path / "store.db").read_bytes().startswith(b"no database")


def test_what_could_not_be_written_is_written_later(open_assistant, say, tmp_path, monkeypatch):
    from aded_edge.errors import StoreError
    from aded_edge.store import Conversations

    assistant = open_assistant()
    say(assistant, "one")
    add = Conversations.add

    def full(self, *_):
        raise StoreError("the disk is full")

    monkeypatch.setattr(Conversations, "add", full)
    say(assistant, "two")
    monkeypatch.setattr(Conversations, "add", add)
    say(assistant, "three")
    assert on_disk(tmp_path) == contents(assistant)
    assert on_disk(tmp_path)[::2] == ["one", "two", "three"]


def test_what_the_matrix_learned_belongs_to_its_conversation(open_assistant, say, tmp_path):
    assistant = open_assistant()
    say(assistant, "one")
    assistant.llama.wait_for_store()
    with Store.open(tmp_path / "store.db") as store:
        kept = store.conversations.get(1)
        (size,) = store.sizes()
        assert size.parts == 1
        assert store.conversations.delete(kept) is True
        (size,) = store.sizes()
        assert size.parts == 0


# --- what it is given -----------------------------------------------------------------------


def test_memories_stand_in_the_next_conversation(assistant, say):
    without = say(assistant, "What do I like?")
    assistant.remember("the user  likes\ntea")
    assistant.new()
    assert say(assistant, "What do I like?") != without
    assert [(use.kind, use.text) for use in assistant.used] == [("memory", "the user likes tea")]
    (memory,) = assistant.memories()
    assistant.forget(memory.id)
    assistant.new()
    assert say(assistant, "What do I like?") == without
    assert assistant.used == []
    with pytest.raises(ConfigError, match="no memory 1"):
        assistant.forget(memory.id)
    with pytest.raises(ConfigError, match="nothing to remember"):
        assistant.remember(" ")


def test_a_memory_made_meanwhile_is_given_when_it_matches(assistant, say):
    say(assistant, "Hello.")
    assistant.remember("the user likes green tea")
    say(assistant, "Is green tea good?")
    assert [use.kind for use in assistant.used] == ["memory"]
    assert assistant.messages[-2].content == "Is green tea good?"
    assert "the user likes green tea" in assistant.messages[-2].given
    say(assistant, "Is green tea better than black tea?")
    assert assistant.used == []  # it is in the context already


def test_what_is_forgotten_is_gone_from_the_context_and_the_disk(assistant, say, tmp_path):
    say(assistant, "Hello.")
    assistant.remember("the user likes green tea")
    say(assistant, "Is green tea good?")
    assistant.forget(1)
    assert "likes green tea" not in "".join(m.given or "" for m in assistant.messages)
    assistant.close()
    assert b"likes green tea" not in (tmp_path / "store.db").read_bytes()


def test_earlier_conversations_are_given_with_their_date(assistant, say):
    say(assistant, "The lighthouse of Eckmuehl has 307 steps.")
    assistant.new()
    say(assistant, "How many steps has the lighthouse?")
    used = [use for use in assistant.used if "307" in use.text]
    assert [use.kind for use in used] == ["conversation"]
    assert used[0].date[:2] == "20"


def test_without_a_budget_nothing_is_given(open_assistant, say):
    assistant = open_assistant(memory_tokens=0)
    assistant.remember("the user likes tea")
    say(assistant, "The lighthouse of Eckmuehl has 307 steps.")
    assistant.new()
    say(assistant, "How many steps has the lighthouse?")
    assert assistant.used == []


def test_a_small_file_is_given_whole_and_a_large_one_in_part(open_assistant, say, tmp_path):
    assistant = open_assistant(n_ctx=2048, memory_tokens=900)  # a token is a byte here
    small, large = tmp_path / "small.txt", tmp_path / "large.txt"
    small.write_text("The code is 4711.")
    large.write_text("\n\n".join(f"Paragraph {n}: " + "filler words " * 8 for n in range(90)))
    large.write_text(large.read_text() + "\n\nThe harbour closes at nine every evening.\n")
    assert "given whole" in assistant.attach(small)
    say(assistant, "What is it?")
    assert "The code is 4711." in assistant.messages[-2].given
    say(assistant, "Thanks.")
    assert assistant.messages[-2].given is None
    assert "passages" in assistant.attach(large)
    say(assistant, "When is the harbour closing in the evening?")
    assert [use.where.rpartition("/")[2] for use in assistant.used] == ["large.txt:181"]


def test_a_persona_speaks_unless_told_otherwise(open_assistant, say):
    persona = Persona("editor", {"system": "You improve texts.", "max_tokens": 3})
    assistant = open_assistant(persona=persona, sampling={"temperature": 0.0})
    say(assistant, "one")
    assert assistant.stats.tokens <= 4
    assert assistant.conversation.system == "You improve texts."
    assert assistant.conversation.persona == "editor"
    other = open_assistant(persona=persona, system="Be brief.")
    assert other.conversation.system == "Be brief."


@pytest.mark.parametrize(
    ("text", "memory"),
    [
        ("Remember that my dog is Rex.", "my dog is Rex."),
        ("please remember: buy  milk", "buy milk"),
        ("I remember that day.", None),
        ("remember", None),
    ],
)
def test_what_asks_to_be_remembered(text, memory):
    assert memory_in(text) == memory


# --- the context ----------------------------------------------------------------------------


@pytest.mark.parametrize("overflow", ["summary", "drop"])
def test_the_context_never_overflows_silently(open_assistant, say, overflow, caplog, tmp_path):
    assistant = open_assistant(n_ctx=512, overflow=overflow, memory_tokens=0, system="Be brief.")
    asked = [f"{n} " + "tell me more " * 6 for n in range(8)]
    with caplog.at_level(logging.INFO, "aded_edge"):
        for text in asked:
            assert say(assistant, text)
            assert assistant.llama.n_tokens <= 512
    told = [line for line in caplog.messages if "outgrew the context" in line]
    assert told
    assert all(("summary of" in line) == (overflow == "summary") for line in told)
    assert on_disk(tmp_path)[::2] == asked  # nothing is lost on the disk
    assert bool(assistant.conversation.summary) == (overflow == "summary")
    assert assistant.conversation.system == "Be brief."


def test_a_summary_is_kept_and_the_conversation_goes_on_from_it(open_assistant, say):
    assistant = open_assistant(n_ctx=512, memory_tokens=0)
    for n in range(6):
        say(assistant, f"{n} " + "tell me more " * 6)
    summary = assistant.conversation.summary
    answer_key = assistant.conversation.summarized
    assert summary
    assistant.close()
    again = open_assistant(n_ctx=512, memory_tokens=0)
    again.resume()
    assert again.conversation.summary == summary
    assert again.conversation.summarized == answer_key
    assert say(again, "and now?")


def test_a_long_conversation_is_taken_up_in_a_smaller_context(open_assistant, say):
    assistant = open_assistant(n_ctx=1024, memory_tokens=0)
    for n in range(6):
        say(assistant, f"{n} " + "tell me more " * 8)
    assistant.close()
    small = open_assistant(n_ctx=256, memory_tokens=0)
    small.resume()
    assert say(small, "and now?")
    assert small.llama.n_tokens <= 256


def test_a_message_that_cannot_fit_is_refused_and_changes_nothing(open_assistant, say, tmp_path):
    assistant = open_assistant(n_ctx=256)
    say(assistant, "one")
    with pytest.raises(PromptError, match="context of 256 tokens"):
        say(assistant, "word " * 200)
    assert contents(assistant) == on_disk(tmp_path)
    assert say(assistant, "two")


def test_a_saved_kv_is_taken_up_and_says_the_same(open_assistant, say, tmp_path):
    assistant = open_assistant()
    say(assistant, "Once upon a time there was a fox.")
    tokens = assistant.llama.n_tokens
    assistant.close()
    (_state,) = (tmp_path / "kv").iterdir()
    again = open_assistant()
    again.resume()
    assert again.llama.n_tokens == tokens
    from_state = say(again, "And then?")
    again.close()
    for path in (tmp_path / "kv").iterdir():
        path.unlink()
    plain = open_assistant(store=None, kv_folder=None)
    say(plain, "Once upon a time there was a fox.")
    assert say(plain, "And then?") == from_state


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_kv_that_does_not_fit_is_thrown_away(open_assistant, say, tmp_path, damage):
    assistant = open_assistant()
    say(assistant, "one")
    assistant.close()
    (state,) = (tmp_path / "kv").iterdir()
    state.write_bytes(state.read_bytes()[:-9] if damage is None else damage)
    again = open_assistant()
    again.resume()
    assert again.llama.n_tokens == 0
    assert not state.exists()
    assert say(again, "two")


def test_kv_states_are_bounded(open_assistant, say, tmp_path, monkeypatch):
    assistant = open_assistant()
    for n in range(3):
        say(assistant, f"{n}")
        assistant._states._most = int(assistant.llama.kv_bytes * 2.5)
        assistant.new()
    assert len(list((tmp_path / "kv").iterdir())) == 2


# --- opening --------------------------------------------------------------------------------


def test_a_model_that_is_open_stays_the_callers(load_tiny, tmp_path):
    llama = load_tiny()
    with Assistant(llama, store=tmp_path / "store.db", kv_folder=tmp_path / "kv") as assistant:
        assert "".join(assistant.ask("one")) is not None
    assert llama.n_ctx() > 0


@pytest.mark.parametrize(
    ("changes", "words"), [({"overflow": "forget"}, "summary"), ({"model": None}, "no model")]
)
def test_nonsense_is_refused(open_assistant, changes, words):
    with pytest.raises(ConfigError, match=words):
        open_assistant(**changes)
