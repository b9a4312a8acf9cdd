"""Findings about a model that nobody measured."""

import dataclasses

from aded_edge.bench.doctor.examine import Findings

COSTS = {1: 0.010, 2: 0.015, 4: 0.020, 8: 0.050, 16: 0.200}


def findings(**changes):
    healthy = Findings(
        file="m.gguf",
        name="m",
        description="llama 1B Q4_0",
        bytes=100 << 20,
        buffers={"CPU_Mapped": 100.0, "CPU_REPACK": 80.0},
        build="llama-cpp-python 0 (llamafile off, repack off, AMX off)",
        features={"CPU": ["AVX2", "OPENMP", "REPACK"]},
        cpu="a CPU",
        cores=4,
        gpu=None,
        built_for=[],
        found=[],
        devices=[],
        threads=4,
        gpu_layers=0,
        flash_attn=False,
        n_ctx=2048,
        others=0.1,
        costs=COSTS,
        times={1: {1: [3.0] * 3, 8: [9.0] * 3}, 4: {1: [1.0, 1.1, 1.0], 8: [2.0] * 3}},
        conditions={"model": "m"},
        proof={40: {2: 0.0, 4: 0.0, 8: 0.0}, 300: {2: 0.0, 4: 0.0, 8: 0.0}},
        bit_conditions={"model": "m", "n_ctx": 2048},
    )
    return dataclasses.replace(healthy, **changes)
