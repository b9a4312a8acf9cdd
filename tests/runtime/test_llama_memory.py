"""Memory: a model is freed when nobody refers to it, and answers leave nothing behind."""

import gc
import itertools
import json
import weakref

import llama_cpp
import pytest

from aded_edge import Llama
from tests.gguf_files import write_lora
from tests.runtime.helpers import ASKED, finished, in_a_process


def failing(history, logits):
    raise ZeroDivisionError


def unchanged(history, logits):
    return logits


def left_open(llama):
    stream = llama.generate(ASKED)
    list(itertools.islice(stream, 3))


def interrupted(llama):
    stream = llama.generate(ASKED, logits_processor=llama_cpp.LogitsProcessorList([unchanged]))
    next(stream)
    with pytest.raises(KeyboardInterrupt):
        stream.throw(KeyboardInterrupt())


def too_long(llama):
    with pytest.raises(ValueError, match=f"exceed context window of {llama.n_ctx()}"):
        llama.create_completion(2000 * ASKED, logit_bias={5: 1.0})


USES = {
    "nothing": lambda llama: None,
    "completion": lambda llama: llama.create_completion(ASKED, max_tokens=5),
    "stop": lambda llama: llama.create_completion(ASKED, max_tokens=9, stop=["a", "b"]),
    "logit_bias": lambda llama: llama.create_completion(ASKED, max_tokens=5, logit_bias={5: 1.0}),
    "logits_processor": lambda llama: llama.create_completion(
        ASKED, max_tokens=5, logits_processor=llama_cpp.LogitsProcessorList([unchanged])
    ),
    "grammar": lambda llama: llama.create_completion(
        ASKED,
        max_tokens=5,
        grammar=llama_cpp.LlamaGrammar.from_string('root ::= "a"+', verbose=False),
    ),
    "stream": lambda llama: list(llama.create_completion(ASKED, max_tokens=5, stream=True)),
    "left open": left_open,
    "interrupted": interrupted,
    "sample": lambda llama: (llama.eval(ASKED), llama.sample()),
    "too long": too_long,
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("drafting", ["auto", "off"])
def test_a_model_is_freed_with_the_last_reference(tiny_settings, use, drafting, monkeypatch):
    monkeypatch.setattr("aded_edge.runtime.costs.MEASURE_SECONDS", 0.1)
    llama = Llama(**tiny_settings, drafting=drafting, store=None)
    gc.collect()
    gc.disable()  # so a cycle would keep it
    try:
        use(llama)
        sampler = llama._sampler and weakref.ref(llama._sampler)
        freed = weakref.ref(llama)
        del llama
        assert freed() is None
        assert sampler is None or sampler() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("drafting", ["auto", "off"])
def test_a_model_with_an_adapter_is_freed_with_the_last_reference(
    tiny_settings, tmp_path, drafting, monkeypatch
):
    monkeypatch.setattr("aded_edge.runtime.costs.MEASURE_SECONDS", 0.1)
    write_lora(tmp_path / "lora.gguf")
    freed_adapters = []
    free = llama_cpp.llama_adapter_lora_free
    monkeypatch.setattr(
        llama_cpp, "llama_adapter_lora_free", lambda one: freed_adapters.append(free(one))
    )
    llama = Llama(
        **tiny_settings, drafting=drafting, store=None, lora_path=str(tmp_path / "lora.gguf")
    )
    gc.collect()
    gc.disable()
    try:
        llama.create_completion(ASKED, max_tokens=5)
        freed = weakref.ref(llama)
        del llama
        assert freed() is None
        assert len(freed_adapters) == 1
    finally:
        gc.enable()


def test_a_logits_processor_that_fails_keeps_no_model(tiny_settings, monkeypatch):
    monkeypatch.setattr("sys.unraisablehook", lambda _: None)  # pytest's keeps the traceback
    llama = Llama(**tiny_settings, drafting="off", store=None)
    gc.collect()
    gc.disable()
    try:
        processors = llama_cpp.LogitsProcessorList([failing])
        llama.create_completion(ASKED, max_tokens=3, logits_processor=processors)
        freed = weakref.ref(llama)
        del llama
        assert freed() is None
    finally:
        gc.enable()


def test_three_hundred_sampled_completions_need_no_memory(model_path):
    """Resident memory after 100 and after 400; only what is drafted from may grow, by little."""
    script = """
        import gc, psutil
        gc.disable()
        llama = load(sys.argv[1], n_ctx=256)
        sizes = []
        for number in range(401):
            llama.create_completion(
                "The sea", max_tokens=4, temperature=1.0, seed=number % 50,
                logit_bias={5: 1.0} if number % 2 else None,
            )
            if number % 100 == 0:
                sizes.append(psutil.Process().memory_info().rss)
        print(json.dumps(sizes))
    """
    sizes = json.loads(finished(in_a_process(script, model_path)))
    assert max(sizes[2:]) < 1.02 * sizes[1]
