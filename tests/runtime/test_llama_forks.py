"""Processes made by fork: the model answers there as it does here, and never hangs."""

import pytest

from tests.runtime.helpers import finished, in_a_process

FORKED = """
    import signal

    def in_child(work):
        here, there = os.pipe()
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # a child that hangs dies
            try:
                text = json.dumps(work())
            except AdedError as error:
                text = json.dumps(str(error))
            os.write(there, text.encode())
            os._exit(0)
        os.close(there)
        _, status = os.waitpid(child, 0)
        assert status == 0, f"the child died: {status}"
        return json.loads(os.read(here, 100000))

    def answer():
        return list(itertools.islice(llama.generate([1, 70, 80, 90], temp=0.0), 20))

    llama = load(sys.argv[1], drafting=sys.argv[2], n_threads=3, n_threads_batch=3)
"""


@pytest.mark.parametrize("drafting", ["auto", "off"])
def test_a_child_answers_like_its_parent(tiny_path, drafting):
    script = """
    expected = answer()
    for _ in range(2):
        assert in_child(answer) == expected
        assert in_child(lambda: in_child(answer)) == expected
        assert answer() == expected
    stream = llama.generate([1, 70, 80, 90], temp=0.0)
    begun = list(itertools.islice(stream, 5))
    assert in_child(lambda: begun + list(itertools.islice(stream, 15))) == expected
    assert begun + list(itertools.islice(stream, 15)) == expected
    """
    finished(in_a_process(FORKED + script, tiny_path, drafting))


def test_a_fork_while_another_thread_evaluates_is_told_in_the_child(tiny_path):
    script = """
    import threading
    inside, go_on = threading.Event(), threading.Event()

    def criterion(*_):
        inside.set()
        go_on.wait(60)
        return True

    other = threading.Thread(
        target=lambda: list(llama.generate([1, 70], temp=0.0, stopping_criteria=criterion))
    )
    other.start()
    inside.wait(60)
    print(in_child(answer))
    print(in_child(lambda: llama.close()))
    go_on.set()
    other.join()
    assert len(answer()) == 20
    """
    told, closed = finished(in_a_process(FORKED + script, tiny_path, "auto")).splitlines()
    assert "forked while the model was in use" in told
    assert closed == "None"


def test_a_child_cannot_use_a_gpu_of_its_parent(tiny_path):
    script = """
    from aded_edge.runtime import building
    llama._access.after_fork = building._GPU_FORKED
    print(in_child(answer))
    assert len(answer()) == 20
    """
    assert "spawn" in finished(in_a_process(FORKED + script, tiny_path, "off"))
