"""Several threads on one model: answers come one after the other, and no stream is mixed up."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from aded_edge import EvaluationError
from aded_edge.runtime import access
from tests.runtime.helpers import ASKED, OTHER, assert_in_agreement, said, take

PROMPTS = [ASKED, OTHER, [1, 40, 41, 42, 43], [1, 200, 201]]


@pytest.fixture(params=["auto", "off"])
def llama(request, load_tiny):
    return load_tiny(drafting=request.param, eager=request.param == "auto")


def in_threads(work, items=PROMPTS):
    """Results of work(item), each in a thread of its own, begun at the same moment."""
    barrier = threading.Barrier(len(items))

    def begin(item):
        barrier.wait(30)
        return work(item)

    with ThreadPoolExecutor(len(items)) as pool:
        return list(pool.map(begin, items, timeout=120))


def test_four_threads_stream_what_one_does(llama, tiny_truth):
    for _ in range(3):
        answers = in_threads(lambda prompt: take(llama, prompt, 40))
        assert answers == [tiny_truth(prompt, 40) for prompt in PROMPTS]
    llama._settle()
    assert_in_agreement(llama)


def test_four_threads_complete_what_one_does(llama):
    def complete(prompt):
        usual = {"max_tokens": 30, "temperature": 0.8, "seed": 5}
        return [
            said(llama.create_completion(prompt, **usual)),
            said(llama.create_completion(prompt, logit_bias={70: 1.0}, **usual)),
        ]

    expected = [complete(prompt) for prompt in PROMPTS]
    for _ in range(3):
        assert in_threads(complete) == expected


def test_threads_may_do_anything_at_once(llama, tiny_truth):
    """Only crashes and hangs count: what reset does to the history of another is its own affair."""
    state = llama.save_state()
    uses = [
        lambda: llama.eval([1, 5, 6]),
        llama.reset,
        lambda: llama.load_state(llama.save_state()),
        lambda: llama.load_state(state),
        lambda: llama.eval([1, 9, 70]),
        lambda: llama.tokenize(b"some text"),
        lambda: llama.kv_bytes,
        lambda: take(llama, ASKED, 10),
    ]
    in_threads(lambda use: [use() for _ in range(20)], uses)
    assert take(llama, OTHER, 8) == tiny_truth(OTHER, 8)


@pytest.mark.parametrize("first", [1, 2, 17])
def test_streams_that_are_read_in_turn_both_say_their_own(llama, tiny_truth, first):
    one, two = (llama.generate(prompt, temp=0.0) for prompt in (ASKED, OTHER))
    said_by_one = list(itertools.islice(one, first))
    said_by_two = []
    for _ in range(4):
        said_by_two += itertools.islice(two, 3)
        said_by_one += itertools.islice(one, 3)
    assert said_by_one == tiny_truth(ASKED, len(said_by_one))
    assert said_by_two == tiny_truth(OTHER, len(said_by_two))


def test_sampled_streams_in_turn_keep_their_samplers(llama):
    sampling = {"temp": 1.5, "repeat_penalty": 1.3}
    expected = []
    for seed, prompt in ((1, ASKED), (2, OTHER)):
        llama.set_seed(seed)
        expected.append(take(llama, prompt, 20, **sampling))
    streams, answers = [], ([], [])
    for seed, prompt in ((1, ASKED), (2, OTHER)):
        llama.set_seed(seed)
        streams.append(llama.generate(prompt, **sampling))
        answers[len(streams) - 1].append(next(streams[-1]))
    for stream, answer in [*zip(streams, answers, strict=True)] * 19:
        answer.append(next(stream))
    assert list(answers) == expected


def test_a_stream_that_is_left_open_keeps_no_other_thread_for_long(llama, tiny_truth, monkeypatch):
    monkeypatch.setattr(access, "PATIENCE", 0.05)
    left = llama.generate(ASKED, temp=0.0)
    said_before = list(itertools.islice(left, 5))
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(take, llama, OTHER, 20).result(60) == tiny_truth(OTHER, 20)
        pool.submit(llama.reset).result(60)
    assert said_before + list(itertools.islice(left, 5)) == tiny_truth(ASKED, 10)


def test_another_thread_waits_for_a_stream_that_goes_on(llama, tiny_truth):
    """The other one begins in the middle of a stream, and answers when it has ended."""
    stream = llama.generate(ASKED, temp=0.0)
    order = list(itertools.islice(stream, 3))
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(lambda: order.append("other") or take(llama, OTHER, 4) or None)
        waiting = pool.submit(lambda: None)
        for _ in range(30):
            next(stream)
            assert not waiting.done()
        stream.close()
        other.result(60)


@pytest.mark.parametrize("complete", [False, True])
def test_a_model_may_be_closed_while_another_thread_generates(load_tiny, complete):
    for drafting in ("auto", "off"):
        llama = load_tiny(drafting=drafting)
        begun = threading.Event()

        def generate(llama=llama, begun=begun):
            def criterion(*_):
                begun.set()
                return False

            while True:
                if complete:
                    llama.create_completion(ASKED, max_tokens=500, stopping_criteria=criterion)
                else:
                    take(llama, ASKED, 500, stopping_criteria=criterion)

        with ThreadPoolExecutor(1) as pool:
            working = pool.submit(generate)
            begun.wait(30)
            llama.close()
            with pytest.raises(EvaluationError, match="closed"):
                working.result(60)
