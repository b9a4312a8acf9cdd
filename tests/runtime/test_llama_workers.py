"""A model on workers: it answers as here, and a lost worker is an error and not the end."""

import contextlib
import itertools
import os
import socket

import llama_cpp
import numpy as np
import pytest

from aded_edge import Assistant, ConfigError, Llama, ModelError, WorkerError
from aded_edge.llamacpp import greeting, last_logits, relay
from aded_edge.llamacpp.system import captured_log
from tests.runtime.helpers import finished, in_a_process
from tests.workers import Cut, exactly, free_port, needs_rpc, reply, request, server, worker

PROMPT = [1, *range(40, 140)]
TOKENS = 40


@pytest.fixture(scope="module")
def first():
    with worker() as running:
        yield running


@pytest.fixture(scope="module")
def second():
    with worker() as running:
        yield running


@pytest.fixture
def expected(tiny_truth):
    return tiny_truth(PROMPT, TOKENS)


def answer(llama, tokens=TOKENS):
    return list(itertools.islice(llama.generate(PROMPT, temp=0.0), tokens))


@needs_rpc
@pytest.mark.parametrize("drafting", ["auto", "off", "paper"])
def test_it_answers_as_here(load_tiny, first, expected, drafting):
    llama = load_tiny(eager=drafting == "auto", drafting=drafting, rpc_servers=first.address)
    assert answer(llama) == expected
    assert answer(llama) == expected  # what was learned is drafted now


@needs_rpc
def test_two_workers_share_the_layers(load_tiny, first, second, expected):
    both = f"{first.address},{second.address}"
    with captured_log() as lines:
        llama = load_tiny(rpc_servers=both, verbose=True)
    buffers = [line for line in lines if "model buffer size" in line and "RPC" in line]
    assert len(buffers) == 2
    assert answer(llama) == expected


class OrdinaryKernels(llama_cpp.Llama):
    """Computes here as a worker's CPU does: with the weights in the layout of the file."""

    @property
    def model_params(self):
        return self._params

    @model_params.setter
    def model_params(self, params):
        params.use_extra_bufts = False
        self._params = params


@needs_rpc
@pytest.mark.parametrize("flash_attn", [False, True])
def test_the_logits_are_those_of_the_same_kernels_here(
    load, settings, model_path, first, second, flash_attn
):
    how = {**settings, "flash_attn": flash_attn}
    here = OrdinaryKernels(str(model_path), **how)
    there = load(**how, drafting="off", rpc_servers=f"{first.address},{second.address}")
    for llama in (here, there):
        llama.eval(PROMPT)
    assert np.array_equal(last_logits(there), last_logits(here))
    greedy = [list(itertools.islice(m.generate(PROMPT, temp=0.0), 30)) for m in (here, there)]
    here.close()
    assert greedy[0] == greedy[1]


@needs_rpc
def test_some_layers_can_stay_here(load_tiny, first, expected):
    with captured_log() as lines:
        llama = load_tiny(rpc_servers=first.address, n_gpu_layers=1, verbose=True)
    assert any("offloaded 1/3 layers" in line for line in lines)
    assert answer(llama) == expected


@needs_rpc
def test_the_kv_is_saved_and_loaded(load_tiny, first, expected, tmp_path):
    path = tmp_path / "kv"
    llama = load_tiny(rpc_servers=first.address)
    answer(llama)
    length = llama.n_tokens
    llama.save_kv(path)
    llama.close()
    again = load_tiny(rpc_servers=first.address)
    assert again.load_kv(path) == length
    assert answer(again) == expected
    assert load_tiny().load_kv(path) == 0  # other machines compute other bits


@needs_rpc
def test_states_in_memory_are_restored(load_tiny, first, expected):
    llama = load_tiny(rpc_servers=first.address)
    stream = llama.generate(PROMPT, temp=0.0)
    begun = list(itertools.islice(stream, 5))
    stream.close()
    state = llama.save_state()
    llama.reset()
    llama.load_state(state)
    assert begun == expected[:5]
    assert answer(llama) == expected


@needs_rpc
def test_a_worker_killed_within_an_answer_is_an_error_and_the_program_goes_on(load_tiny, expected):
    with worker() as running:
        llama = load_tiny(rpc_servers=running.address)
        stream = llama.generate(PROMPT, temp=0.0)
        assert list(itertools.islice(stream, 3)) == expected[:3]
        running.kill()
        with pytest.raises(WorkerError, match=f"the worker {running.address} is lost: .*again"):
            list(itertools.islice(stream, TOKENS))
        with pytest.raises(WorkerError):
            answer(llama)
        llama.close()
    assert answer(load_tiny()) == expected
    with worker(port=running.port):
        assert answer(load_tiny(rpc_servers=running.address)) == expected


@needs_rpc
@pytest.mark.parametrize("share", [0.02, 0.6, 0.99])
@pytest.mark.parametrize("part", ["load", "prompt", "answer", "save"])
def test_a_worker_lost_at_any_byte_is_an_error(load_tiny, first, tmp_path, part, share):
    cut, ends = Cut(first.port), {"start": 0}

    def use(port):
        llama = Llama(**{**load_tiny.keywords, "store": None, "rpc_servers": f"127.0.0.1:{port}"})
        with contextlib.closing(llama):
            ends["load"] = cut.passed
            stream = llama.generate(PROMPT, temp=0.0)
            next(stream)
            ends["prompt"] = cut.passed
            list(itertools.islice(stream, 10))
            ends["answer"] = cut.passed
            llama.save_kv(tmp_path / "kv")
            ends["save"] = cut.passed

    with server(cut) as port:
        use(port)
    (tmp_path / "kv").unlink()
    before = list(ends)[list(ends).index(part) - 1]
    cut.at = int(ends[before] + share * (ends[part] - ends[before]))
    cut.passed = 0
    with server(cut) as port, pytest.raises(WorkerError, match=f"127.0.0.1:{port}"):
        use(port)
    assert not (tmp_path / "kv").exists()


@needs_rpc
def test_a_worker_lost_while_nothing_runs_is_named_at_the_next_use(load_tiny):
    with worker() as running:
        llama = load_tiny(rpc_servers=running.address)
        answer(llama)
    with pytest.raises(WorkerError, match=running.address):
        answer(llama)
    with pytest.raises(WorkerError, match=running.address):
        llama.eval([1])
    llama.close()


@needs_rpc
def test_a_worker_serves_one_model_at_a_time(load_tiny, first, expected, monkeypatch):
    monkeypatch.setattr(greeting, "ANSWER_SECONDS", 0.5)
    llama = load_tiny(rpc_servers=first.address)
    with pytest.raises(WorkerError, match="one model at a time"):
        load_tiny(rpc_servers=first.address)
    assert answer(llama) == expected
    llama.close()
    monkeypatch.undo()
    assert answer(load_tiny(rpc_servers=first.address)) == expected


@needs_rpc
def test_other_models_of_the_process_do_not_use_the_worker(load_tiny, expected):
    with worker() as running:
        remote = load_tiny(rpc_servers=running.address)
        here = load_tiny(n_gpu_layers=-1)
        remote.close()
    assert answer(here) == expected
    assert answer(load_tiny(n_gpu_layers=-1)) == expected


@needs_rpc
def test_what_was_said_is_kept_when_a_worker_is_killed(tiny_settings, tmp_path):
    where = {"store": tmp_path / "store.db", "kv_folder": tmp_path / "kv", **tiny_settings}
    where["sampling"] = {"temperature": 0.0}
    model = where.pop("model_path")
    with worker() as running:
        assistant = Assistant(model, rpc_servers=running.address, **where)
        list(assistant.ask("one"))
        stream = assistant.ask("two")
        said = list(itertools.islice(stream, 3))
        running.kill()
        with pytest.raises(WorkerError, match=running.address):
            said.extend(stream)
        assistant.close()
    with Assistant(model, **where) as later:
        later.resume()
        assert [message.content for message in later.messages[::2]] == ["one", "two"]
        assert later.messages[-1].content == "".join(said)
        assert later.messages[-1].cut == "stopped"


@needs_rpc
def test_a_process_made_by_fork_is_told_and_ends(first, tiny_path):
    script = """
    llama = load(sys.argv[1], rpc_servers=sys.argv[2])
    def answer():
        return list(itertools.islice(llama.generate([1, 70, 80, 90], temp=0.0), 20))
    expected = answer()
    child = os.fork()
    if child == 0:
        import signal
        signal.alarm(60)
        try:
            answer()
        except AdedError as error:
            llama.close()
            del llama
            sys.exit("worker" not in str(error))
        sys.exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert answer() == expected
    """
    finished(in_a_process(script, tiny_path, first.address))


def test_a_build_without_rpc_is_told_how_to_get_one(tiny_settings, monkeypatch):
    monkeypatch.setattr("aded_edge.llamacpp.rpc.rpc_function", lambda *_: None)
    with pytest.raises(ConfigError) as caught:
        Llama(**tiny_settings, rpc_servers="127.0.0.1:50052")
    assert 'CMAKE_ARGS="-DGGML_RPC=ON" pip install' in str(caught.value)
    assert "llama-cpp-python==0.3.36" in str(caught.value)


@needs_rpc
def test_an_absent_worker_is_an_error_before_anything_is_loaded(tiny_settings):
    port = free_port()
    with pytest.raises(WorkerError, match=f"the worker 127.0.0.1:{port} cannot be used"):
        Llama(**tiny_settings, rpc_servers=f"127.0.0.1:{port}")


@needs_rpc
def test_a_worker_without_enough_memory_is_named_as_a_cause(tiny_settings, first):
    def refuses(connection):
        with socket.create_connection(("127.0.0.1", first.port)) as real:
            while True:
                command, body = request(connection)
                real.sendall(bytes((command,)) + len(body).to_bytes(8, "little") + body)
                if command in relay.STAND_INS or command == relay.HELLO:
                    answer = exactly(real, int.from_bytes(exactly(real, 8), "little"))
                    refused = command == relay.ALLOC_BUFFER
                    reply(connection, bytes(len(answer)) if refused else answer)

    with server(refuses) as port, pytest.raises(ModelError, match="more memory than its workers"):
        Llama(**tiny_settings, rpc_servers=f"127.0.0.1:{port}")


@needs_rpc
def test_one_of_two_absent_leaves_the_other_free(load_tiny, first, expected):
    with pytest.raises(WorkerError):
        load_tiny(rpc_servers=f"{first.address},127.0.0.1:{free_port()}")
    assert answer(load_tiny(rpc_servers=first.address)) == expected


@needs_rpc
def test_ctrl_c_in_the_terminal_does_not_end_the_relay(load_tiny, first, expected):
    llama = load_tiny(rpc_servers=first.address)
    (relay,) = llama._workers._relays
    assert os.getpgid(relay._process.pid) != os.getpgrp()
    assert answer(llama) == expected
