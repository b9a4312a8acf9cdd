"""Prompt files: what is read, and what is said of one that cannot be."""

import json

import pytest

from aded_edge.bench.dialogs import AGENT, Dialog, load_dialogs, shortened
from aded_edge.errors import BenchError


def write(path, *rows):
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return path


def test_a_limit_takes_from_all_categories_in_turn(tmp_path):
    rows = [
        {"question_id": n, "category": category, "turns": [f"{category} {n}"]}
        for category in ("qa", "rag")
        for n in range(3)
    ]
    dialogs = load_dialogs(write(tmp_path / "p.jsonl", *rows), limit=4)
    assert [d.turns[0] for d in dialogs] == ["qa 0", "rag 0", "qa 1", "rag 1"]


def test_categories_of_different_sizes_are_all_read(tmp_path):
    rows = [{"category": "qa", "turns": ["a"]}, {"category": "qa", "turns": ["b", "c"]}]
    rows.append({"category": "rag", "turns": ["d"]})
    dialogs = load_dialogs(write(tmp_path / "p.jsonl", *rows))
    assert [d.turns for d in dialogs] == [("a",), ("d",), ("b", "c")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no dialogs"),
        ("{}\n", "line 1"),
        ('{"turns": []}\n', "line 1"),
        ('{"turns": ["a"]}\nnot json\n', "line 2"),
        ('{"turns": [3]}\n', "line 1"),
        ("[1]\n", "line 1"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path, text, says):
    path = tmp_path / "p.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BenchError, match=says):
        load_dialogs(path)


def test_a_missing_or_binary_file_is_named(tmp_path):
    with pytest.raises(BenchError, match=r"gone\.jsonl"):
        load_dialogs(tmp_path / "gone.jsonl")
    (tmp_path / "b.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BenchError, match=r"b\.jsonl"):
        load_dialogs(tmp_path / "b.jsonl")


# --- agent runs ------------------------------------------------------------------------------


def run_of(*messages):
    return {"id": "r", "messages": [{"role": role, "content": text} for role, text in messages]}


def words(messages):
    """A tokenizer and a chat template that are easy to count."""
    return sum(len(message["content"].split()) + 1 for message in messages)


RUN = run_of(
    ("system", "be brief"),
    ("user", "a " * 50),
    ("assistant", "b " * 20),
    ("user", "c " * 100),
    ("assistant", "d"),
)


def test_an_agent_run_is_a_dialog_with_messages_before_its_turn(tmp_path):
    first = write(tmp_path / "a.jsonl", RUN)
    second = write(tmp_path / "b.jsonl", {"category": "qa", "turns": ["e"]})
    agent, qa = load_dialogs([first, second])
    assert (agent.id, agent.category) == ("r", AGENT)
    assert agent.turns == ("c " * 100,)  # the assistant's last message would be the answer
    assert [message["role"] for message in agent.before] == ["system", "user", "assistant"]
    assert (qa.turns, qa.before) == (("e",), ())


def test_results_of_tools_are_the_users_messages_and_empty_ones_are_dropped(tmp_path):
    row = run_of(("user", "a"), ("assistant", "b"), ("assistant", None), ("tool", "c"), ("x", "d"))
    (dialog,) = load_dialogs(write(tmp_path / "a.jsonl", row))
    assert [message["role"] for message in dialog.before] == ["user", "assistant"]
    assert dialog.turns == ("c\n\nd",)


@pytest.mark.parametrize("messages", [[], [("user", "a")], [("assistant", "a")], [("user", [1])]])
def test_an_agent_run_without_a_question_is_refused(tmp_path, messages):
    with pytest.raises(BenchError, match="line 1"):
        load_dialogs(write(tmp_path / "a.jsonl", run_of(*messages)))


@pytest.mark.parametrize("most", [20, 53, 60, 100, 150, 1000])
def test_it_is_cut_to_about_as_many_tokens_as_asked_for(tmp_path, most):
    (dialog,) = load_dialogs(write(tmp_path / "a.jsonl", RUN))
    cut = shortened(dialog, most, words)
    messages = [*cut.before, {"role": "user", "content": cut.turns[0]}]
    assert words(messages) == {60: 54, 1000: 176}.get(most, most)  # 60 falls into an answer
    assert messages[:-1] == RUN["messages"][: len(messages) - 1]
    last = RUN["messages"][len(messages) - 1]
    assert last["role"] == "user"
    assert last["content"].startswith(cut.turns[0])


def test_a_system_message_that_the_template_refuses_is_the_users(tmp_path):
    def no_system(messages):
        if messages[0]["role"] == "system":
            raise ValueError("System role not supported")
        return words(messages)

    (dialog,) = load_dialogs(write(tmp_path / "a.jsonl", RUN))
    cut = shortened(dialog, 1000, no_system)
    assert cut.before[0] == {"role": "user", "content": "be brief\n\n" + "a " * 50}
    assert len(cut.before) == 2


def test_a_run_that_the_template_refuses_anyway_is_named(tmp_path):
    def refuses(messages):
        raise ValueError("no")

    (dialog,) = load_dialogs(write(tmp_path / "a.jsonl", RUN))
    with pytest.raises(BenchError, match="agent run r: no"):
        shortened(dialog, 1000, refuses)


def test_other_dialogs_stay_as_they_are():
    dialog = Dialog("1", "qa", ("word " * 100,))
    assert shortened(dialog, 10, words) is dialog
