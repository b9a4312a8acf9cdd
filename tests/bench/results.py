"""A result of the speed benchmark that nobody measured."""

import importlib.util

import pytest

from aded_edge.bench.speed.decoders import PLAIN

needs_matplotlib = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="matplotlib is an extra"
)


def result(decoders=(PLAIN, "auto", "paper"), visits=2):
    rows = [
        {
            "visit": visit,
            "category": category,
            "decoder": name,
            "answer": 0.5 + visit,
            "answer_median": 0.6 + visit,
            "answer_quartiles": [0.4 + visit, 0.7 + visit],
            "generation": 0.8 + visit,
        }
        for visit in range(1, visits + 1)
        for category in ("all", "qa")
        for name in decoders
    ]
    settings = {"max_tokens": 8, "temperature": 0.0, "threads": 2, "n_ctx": 512, "runs": 1}
    settings |= {"flash_attn": False, "gpu_layers": 0}
    conditions = {"model": "m.gguf", "description": "llama 1B Q4_0", "cpu": "", "machine": "Linux"}
    build = {"llama_cpp_python": "0.3.36", "system": "CPU : LLAMAFILE = 1"}
    conditions |= build | {"time": "2026-01-01 00:00:00"}
    conditions["baseline"] = build | {"interpreter": "/venv/python"}
    return {
        "settings": settings,
        "conditions": conditions,
        "dialogs": 2,
        "turns_left_out": 0,
        "finished": True,
        "stores": {f"visit {n}": "cold" if n == 1 else "warm" for n in range(1, visits + 1)},
        "summary": rows,
    }
