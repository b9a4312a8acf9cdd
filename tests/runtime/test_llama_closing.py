"""Closed models, streams that outlive them, and pickles."""

import json
import pickle
import signal

import pytest

from tests.runtime.helpers import ASKED, finished, in_a_process, take

AFTER_CLOSE = {
    "create_completion": 'llama.create_completion("Hello", max_tokens=2)',
    "create_chat_completion": 'llama.create_chat_completion([{"role": "user", "content": "a"}])',
    "generate": "next(llama.generate([1, 2, 3]))",
    "a stream that was begun": "next(begun)",
    "a stream that was not begun": "next(unbegun)",
    "tokenize": 'llama.tokenize(b"Hello")',
    "detokenize": "llama.detokenize([5, 6])",
    "eval": "llama.eval([1])",
    "sample": "llama.sample()",
    "save_state": "llama.save_state()",
    "load_state": "llama.load_state(state)",
    "embed": 'llama.embed("Hello")',
}


@pytest.fixture(scope="module")
def after_close(tiny_path):
    """Result of each use of a closed model: {use: [signal that ended it or 0, error text]}."""
    script = """
        llama = load(sys.argv[1])
        begun, unbegun = (llama.generate([5, 6, 7], temp=0.0) for _ in range(2))
        next(begun)
        state = llama.save_state()
        llama.close()
        outcomes = {}
        for name, use in json.loads(sys.argv[2]).items():
            here, there = os.pipe()
            child = os.fork()
            if child == 0:
                try:
                    eval(use)
                    text = "nothing was raised"
                except Exception as error:
                    text = f"{type(error).__name__}: {error}"
                os.write(there, text.encode())
                os._exit(0)
            os.close(there)
            _, status = os.waitpid(child, 0)
            outcomes[name] = (os.WTERMSIG(status), os.read(here, 10000).decode())
        print(json.dumps(outcomes))
    """
    return json.loads(finished(in_a_process(script, tiny_path, json.dumps(AFTER_CLOSE))))


@pytest.mark.parametrize("use", AFTER_CLOSE)
def test_the_use_of_a_closed_model_is_an_error_and_no_crash(after_close, use):
    died_of, text = after_close[use]
    assert died_of == 0, f"died of {signal.Signals(died_of).name}"
    assert "closed" in text


def test_a_model_may_be_closed_twice_and_as_a_context(load_tiny):
    with load_tiny() as llama:
        take(llama, ASKED, 2)
    llama.close()
    llama.close()


def test_models_and_streams_may_go_in_any_order(tiny_path, tmp_path):
    """Streams that outlive their model, models never closed, constructors that failed."""
    script = """
        path, store = sys.argv[1:]
        llama = load(path, store=store)
        stream = llama.generate([1, 70, 80], temp=0.0)
        next(stream), next(stream)
        llama.close()
        stream.close()
        for wrong in ({"n_thread": 1}, {"drafting": "x"}, {"tensor_split": [1.0] * 1000}):
            try:
                load(path, **wrong)
            except ValueError as error:
                print(type(error).__name__)
        open_at_exit = load(path, store=store)
        stream_at_exit = open_at_exit.generate([1, 80, 70], temp=0.0)
        next(stream_at_exit), next(stream_at_exit)
        print("the end")
    """
    done = in_a_process(script, tiny_path, tmp_path / "store.db")
    assert finished(done).split() == ["ConfigError", "ConfigError", "ValueError", "the", "end"]
    assert done.stderr == ""


def test_a_model_is_pickled_with_its_options(load_tiny, tiny_truth, tmp_path):
    llama = load_tiny(drafting="paper", store=tmp_path / "store.db", n_ctx=256)
    again = pickle.loads(pickle.dumps(llama))
    try:
        assert (again.drafting, again.store) == ("paper", tmp_path / "store.db")
        assert again.__getstate__() == llama.__getstate__()
        assert take(again, ASKED, 6) == tiny_truth(ASKED, 6)
    finally:
        again.close()


def test_vocab_only_and_closed_models_are_pickled_too(load_tiny):
    llama = load_tiny(vocab_only=True)
    state = llama.__getstate__()
    assert state["vocab_only"] is True
    llama.close()
    assert llama.__getstate__() == state
