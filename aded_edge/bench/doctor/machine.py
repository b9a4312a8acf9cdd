"""What a machine is and does: its CPU and GPU, how busy it is, what llama.cpp says of itself.

Asks the system and reads llama.cpp's words. Does not know models, nor what follows.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path


class OtherProcesses:
    """How much other processes compute, from its construction on."""

    def __init__(self) -> None:
        self._load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        self._began = self._now()

    def cores(self) -> float:
        """Cores that they kept busy.

        Where the system keeps no count it is the load average before, if that was high: a low one
        may be of anything.
        """
        if self._began is None or (now := self._now()) is None:
            return self._load if self._load > (os.cpu_count() or 1) / 2 else 0.0
        wall, others = (new - old for new, old in zip(now, self._began, strict=True))
        return max(others / wall, 0.0) if wall > 0 else 0.0

    @staticmethod
    def _now() -> tuple[float, float] | None:
        """Seconds by the clock, and those that others have computed."""
        try:
            first = Path("/proc/stat").read_text(encoding="utf-8").splitlines()[0]
            user, nice, system, _idle, _wait, *interrupts = map(int, first.split()[1:9])
            busy = (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, IndexError):
            return None
        return time.monotonic(), busy - time.process_time()


def weight_buffers(lines: Sequence[str]) -> dict[str, float]:
    """Place -> MiB of weights there, out of llama.cpp's log."""
    sizes: dict[str, float] = {}
    for line in lines:
        found = re.search(r"(\S+) model buffer size = +([\d.]+) MiB", line)
        if found:
            sizes[found[1]] = sizes.get(found[1], 0.0) + float(found[2])
    return sizes


def features(system: str) -> dict[str, list[str]]:
    """Backend -> what it uses, out of llama.cpp's system info ("CPU : AVX2 = 1 | ...")."""
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
    """Numbers of threads worth trying: one, half of the cores, the physical ones, all."""
    return sorted({1, max(cores // 2, 1), _physical_cores(cores), cores, current})


def _physical_cores(cores: int) -> int:
    folder = Path("/sys/devices/system/cpu")
    siblings = folder.glob("cpu[0-9]*/topology/thread_siblings_list")
    try:
        return len({path.read_text(encoding="utf-8") for path in siblings}) or cores
    except OSError:
        return cores


def visible_gpu() -> str | None:
    """A GPU that this machine seems to have."""
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return "Metal"
    if any(Path("/dev").glob("nvidia[0-9]*")):
        return "CUDA"
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return "CUDA" if listed.returncode == 0 and listed.stdout.startswith(b"GPU") else None
