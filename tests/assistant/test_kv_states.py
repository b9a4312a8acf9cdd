"""Saved KV states: they change no answer, and unusable ones are deleted."""

import pytest


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
        assistant._keeping._states._most = int(assistant.llama.kv_bytes * 2.5)
        assistant.new()
    assert len(list((tmp_path / "kv").iterdir())) == 2
