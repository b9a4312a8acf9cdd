"""Conditions of a figure: the model file, the machine and the versions behind it.

Every result contains them, so that two results can be compared. Does not know the settings of a
benchmark, which each benchmark adds itself, nor how busy the machine is (`doctor/probe.py`).
"""

from __future__ import annotations

import platform
import time
from pathlib import Path
from typing import Any

from aded_edge.llamacpp import offloading
from aded_edge.llamacpp.system import binding_version, build_info, cpu_name


def run_conditions(model: Path, gpu_layers: int) -> dict[str, Any]:
    """Describe what a figure depends on besides the settings of its run.

    Args:
        model: the GGUF file.
        gpu_layers: layers that it is to have on GPUs, -1 for all.

    Returns:
        Name and size of the model, platform, versions, llama.cpp's system info, the processor, the
        devices that evaluate beside it, and the time now.
    """
    return {
        "model": model.name,
        "bytes": model.stat().st_size,
        "machine": platform.platform(),
        "python": platform.python_version(),
        "llama_cpp_python": binding_version(),
        "system": build_info().strip(),
        "cpu": cpu_name(),
        "devices": [*map(str, offloading.found())] if gpu_layers != 0 else [],
        "time": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
