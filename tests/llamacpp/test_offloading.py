"""The devices beside the CPU: what llama.cpp finds, what a model uses, what a build is for.

scripts/test-gpu runs these where there is a device; elsewhere there is none.
"""

import llama_cpp
import pytest

from aded_edge.bench.doctor.probe import weight_buffers
from aded_edge.llamacpp import offloading, system
from aded_edge.llamacpp.fingerprint import cost_conditions
from tests.conftest import GPU_LAYERS


@pytest.fixture
def llama(tiny_settings):
    llama = llama_cpp.Llama(**{**tiny_settings, "n_ctx": 64})
    yield llama
    llama.close()


def test_a_model_is_evaluated_by_the_devices_that_hold_its_layers(llama):
    evaluating = offloading.evaluating(llama)
    assert bool(evaluating) == bool(GPU_LAYERS)
    assert set(evaluating) <= set(offloading.found())
    conditions = cost_conditions(llama)
    assert conditions.get("devices", []) == [*map(str, evaluating)]
    assert bool(conditions["n_gpu_layers"]) == bool(GPU_LAYERS)


def test_weights_and_kv_cache_lie_where_it_says(load_tiny):
    with system.captured_log() as lines:
        llama = load_tiny(drafting="off", n_ctx=64, verbose=True)
    names = [device.name for device in offloading.evaluating(llama)] or ["CPU"]
    assert any(buffer.startswith(name) for buffer in weight_buffers(lines) for name in names)
    assert any(f"{name} KV buffer" in line for line in lines for name in names)


def test_without_layers_the_cpu_evaluates(load_tiny):
    llama = load_tiny(drafting="off", n_ctx=64, n_gpu_layers=0)
    assert offloading.evaluating(llama) == []
    assert "devices" not in cost_conditions(llama)


@pytest.mark.cpu
def test_layers_for_a_device_that_is_not_there_change_nothing(load_tiny, monkeypatch):
    """A build for GPUs supports offloading, and finds no device."""
    monkeypatch.setattr(llama_cpp, "llama_supports_gpu_offload", lambda: True)
    assert offloading.found() == []
    with load_tiny(drafting="off", n_ctx=64) as llama:
        plain = cost_conditions(llama)
    asked = llama_cpp.Llama(llama.model_path, n_ctx=64, n_gpu_layers=-1, verbose=False)
    assert offloading.evaluating(asked) == []
    assert cost_conditions(asked)["n_gpu_layers"] == plain["n_gpu_layers"] == 0
    asked.close()


def test_a_build_says_what_it_was_built_for(monkeypatch):
    names = ["libggml-base.so.0", "libggml-cpu.so", "libggml-vulkan.so", "libllama.so"]
    monkeypatch.setattr(system, "library_files", lambda: [(name, 1, 1) for name in names])
    assert system.built_for() == ["vulkan"]
    names[2:] = ["libggml.dylib", "libggml-metal.dylib", "libggml-rpc.dylib", "libggml-blas.dylib"]
    assert system.built_for() == ["metal"]
