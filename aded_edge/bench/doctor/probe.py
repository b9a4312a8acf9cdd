"""Facts about this machine: its cores and GPU, how busy it is, and what llama.cpp logs about it.

Asks the system, and parses llama.cpp's log. Does not know models, nor what to conclude.
"""

from __future__ import annotations

import platform
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from aded_edge.runtime.options import default_threads

_BUSY = ("user", "nice", "system", "irq", "softirq", "steal")
"""Fields of psutil.cpu_times that add up to the time in use; each system has some of them. They
include guest time on Linux and interrupts on Windows."""


class OtherProcesses:
    """A measurement of the CPU time that other processes use, from its construction on."""

    def __init__(self) -> None:
        self._began = self._now()

    def cores(self) -> float:
        """Return the number of cores that other processes kept busy, on average.

        It is 0.0 where the system does not let this process read CPU times (Android).
        """
        now = self._now()
        if now is None or self._began is None:
            return 0.0
        wall, others = (new - old for new, old in zip(now, self._began, strict=True))
        return max(others / wall, 0.0) if wall > 0 else 0.0

    @staticmethod
    def _now() -> tuple[float, float] | None:
        """Return the clock, and the CPU seconds of all other processes so far."""
        try:
            times = psutil.cpu_times()
        except OSError:
            return None
        busy = sum(getattr(times, name, 0.0) for name in _BUSY)
        return time.monotonic(), busy - time.process_time()


def weight_buffers(lines: Sequence[str]) -> dict[str, float]:
    """Parse llama.cpp's log: name of a buffer -> MiB of weights in it."""
    sizes: dict[str, float] = {}
    for line in lines:
        found = re.search(r"(\S+) model buffer size = +([\d.]+) MiB", line)
        if found:
            sizes[found[1]] = sizes.get(found[1], 0.0) + float(found[2])
    return sizes


def features(system: str) -> dict[str, list[str]]:
    """Parse llama.cpp's system info ("CPU : AVX2 = 1 | ..."): backend -> features in use."""
    found: dict[str, list[str]] = {}
    backend = "CPU"
    for item in system.split("|"):
        name, _, setting = item.strip().rpartition(" = ")
        if ":" in name:
            backend, _, name = (part.strip() for part in name.partition(":"))
        if name and setting != "0":
            found.setdefault(backend, []).append(name if setting == "1" else f"{name} {setting}")
    return found


def thread_counts(cores: int, current: int) -> list[int]:
    """Return the numbers of threads to compare.

    Args:
        cores: number of logical cores.
        current: number of threads in use.

    Returns:
        One thread, half of the cores, the physical cores, all cores, and `current`; sorted.
    """
    return sorted({1, max(cores // 2, 1), default_threads(), cores, current})


def visible_gpu() -> str | None:
    """Return the kind of GPU that this machine seems to have: "Metal", "CUDA" or None."""
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return "Metal"
    if any(Path("/dev").glob("nvidia[0-9]*")):
        return "CUDA"
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return "CUDA" if listed.returncode == 0 and listed.stdout.startswith(b"GPU") else None
