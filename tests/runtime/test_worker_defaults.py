"""Arguments that differ where a model is on workers."""

import pytest

from aded_edge.runtime.options import llama_arguments, with_worker_defaults


@pytest.mark.parametrize(
    ("given", "filled"),
    [
        ({}, {"n_gpu_layers": -1, "flash_attn": True}),
        ({"n_gpu_layers": 0}, {"n_gpu_layers": -1, "flash_attn": True}),
        ({"n_gpu_layers": 3, "flash_attn": False}, {"n_gpu_layers": 3, "flash_attn": False}),
    ],
)
def test_all_layers_go_to_workers_unless_a_number_is_given(given, filled):
    assert with_worker_defaults(given, "a:1") == filled
    assert with_worker_defaults(given, None) == given


def test_the_commands_use_flash_attention_on_workers():
    how = {"ctx": 64, "threads": 1, "gpu_layers": 0, "flash_attn": False}
    assert llama_arguments(**how, rpc="a:1")["flash_attn"]
    assert not llama_arguments(**how)["flash_attn"]
