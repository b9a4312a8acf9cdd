"""Facts about the machine: parsed from llama.cpp's words, and asked of the system."""

from types import SimpleNamespace

import pytest

from aded_edge.bench.doctor import probe
from aded_edge.bench.doctor.probe import OtherProcesses, features, thread_counts, weight_buffers
from aded_edge.runtime.options import default_threads


def test_threads_that_are_tried():
    assert {1, 4, 8, 3} <= set(thread_counts(8, 3))
    assert thread_counts(1, 1)[0] == 1


def test_the_default_number_of_threads_is_tried():
    assert default_threads() in thread_counts(64, 1)


@pytest.fixture
def machine(monkeypatch):
    """A machine whose clocks stand still until a test moves them."""
    now = SimpleNamespace(clock=100.0, own=1.0, fields={"user": 50.0, "system": 7.0, "idle": 9.0})
    clocks = SimpleNamespace(monotonic=lambda: now.clock, process_time=lambda: now.own)
    monkeypatch.setattr(probe, "time", clocks)
    monkeypatch.setattr(probe.psutil, "cpu_times", lambda: SimpleNamespace(**now.fields))
    return now


@pytest.mark.parametrize("kind", ["user", "nice", "system", "irq", "softirq", "steal"])
def test_cores_that_others_keep_busy_are_counted(machine, kind):
    others = OtherProcesses()
    machine.clock, machine.own = 110.0, 9.0
    machine.fields[kind] = machine.fields.get(kind, 0.0) + 8.0 + 15.0
    machine.fields["idle"] += 20.0
    assert others.cores() == pytest.approx(1.5)


def test_what_this_process_computes_is_not_counted(machine):
    others = OtherProcesses()
    assert others.cores() == 0.0, "no time has passed"
    machine.clock, machine.own = 110.0, 21.0
    machine.fields["user"] += 19.99  # clocks of different precision
    assert others.cores() == 0.0


def test_where_times_cannot_be_read_nobody_is_accused(monkeypatch):
    def forbidden():
        raise PermissionError("/proc/stat")

    monkeypatch.setattr(probe.psutil, "cpu_times", forbidden)
    assert OtherProcesses().cores() == 0.0


def test_the_system_info_is_read():
    text = "CUDA : ARCHS = 900 | USE_GRAPHS = 1 | CPU : AVX2 = 1 | AMX_INT8 = 0 | REPACK = 1 | "
    assert features(text) == {"CUDA": ["ARCHS 900", "USE_GRAPHS"], "CPU": ["AVX2", "REPACK"]}


def test_the_places_of_the_weights_are_read():
    lines = [
        "load_tensors:   CPU_Mapped model buffer size =   400.86 MiB",
        "load_tensors:   CPU_Mapped model buffer size =   100.00 MiB",
        "load_tensors:   CPU_REPACK model buffer size =   191.95 MiB",
        "llama_kv_cache:        CPU KV buffer size =     6.00 MiB",
    ]
    found = weight_buffers(lines)
    assert found == {"CPU_Mapped": pytest.approx(500.86), "CPU_REPACK": 191.95}
