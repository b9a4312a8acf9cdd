"""Openings: read from a file, and put into a model's chat template."""

from aded_edge import Llama
from aded_edge.llamacpp.parallel import LEAST_ROOM
from aded_edge.llamacpp.prompt import Prompter
from aded_edge.teach.prime import load_openings, opening_prompts


def test_our_own_openings_are_many_and_fit_into_the_default_room(model_path):
    openings = load_openings(None)
    assert len(openings) == len(set(openings)) >= 36
    with Llama(model_path, drafting="off", n_ctx=256, verbose=False) as llama:
        prompts = opening_prompts(Prompter(llama), openings, LEAST_ROOM)
        assert b"<|im_start|>assistant" in llama.detokenize(prompts[0].tolist(), special=True)
