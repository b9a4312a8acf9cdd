"""The identity of weights: another one for every change of a file or of a shard."""

import os

import pytest

from aded_edge.llamacpp.fingerprint import bit_conditions, cost_key
from aded_edge.llamacpp.weights import SAMPLE_BYTES, SAMPLES, weights_identity
from aded_edge.runtime.exactness import proof_conditions
from tests.gguf_files import write_tiny


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(bytes(range(256)) * 4096)
    return path


def changed(file, place):
    about = file.stat()
    with file.open("r+b") as opened:
        opened.seek(place)
        opened.write(b"?!")
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))


def test_it_is_the_same_for_the_same_file(file):
    assert weights_identity(file) == weights_identity(str(file))


@pytest.mark.parametrize("sample", [0, 1, 30, SAMPLES - 1])
def test_it_shows_other_bytes_with_the_same_time(file, sample):
    before = weights_identity(file)
    changed(file, (file.stat().st_size - SAMPLE_BYTES) * sample // (SAMPLES - 1) + 7)
    assert weights_identity(file) != before


def test_it_shows_a_change_between_its_samples_by_the_time(file):
    before = weights_identity(file)
    changed(file, SAMPLE_BYTES + 10)
    assert weights_identity(file) == before, "no sample was to be here"
    os.utime(file, ns=(0, before[0][1] + 1))
    assert weights_identity(file) != before


def test_it_shows_another_size(file):
    before = weights_identity(file)
    file.write_bytes(file.read_bytes()[:-1])
    os.utime(file, ns=(0, before[0][1]))
    assert weights_identity(file) != before


@pytest.mark.parametrize("shard", [1, 2, 3])
def test_every_shard_counts(tmp_path, shard):
    shards = [tmp_path / f"m-{n:05}-of-00003.gguf" for n in (1, 2, 3)]
    for path in shards:
        path.write_bytes(bytes(9000))
    before = weights_identity(shards[0])
    assert len(before) == 3
    changed(shards[shard - 1], 0)
    assert weights_identity(shards[0]) != before


def test_a_file_of_few_bytes_has_one(tmp_path):
    (tmp_path / "x").write_bytes(b"GGUF")
    assert weights_identity(tmp_path / "x")[0][0] == 4


def test_a_proof_of_exactness_is_not_that_of_other_weights(load_tiny, tmp_path):
    keys = set()
    for seed in (0, 1):
        path = tmp_path / "model.gguf"
        write_tiny(path, seed=seed)
        os.utime(path, ns=(0, 0))
        with load_tiny(model_path=str(path), drafting="off") as llama:
            keys.add(cost_key(proof_conditions(llama)))
    assert len(keys) == 2


def test_a_lora_adapter_counts_with_its_file_and_scale(load_tiny, file):
    llama = load_tiny(drafting="off")
    keys = [cost_key(bit_conditions(llama))]
    llama.lora_path = str(file)
    keys.append(cost_key(bit_conditions(llama)))
    changed(file, 0)
    keys.append(cost_key(bit_conditions(llama)))
    llama.lora_scale = 0.5
    keys.append(cost_key(bit_conditions(llama)))
    llama.lora_path = None
    assert len(set(keys)) == 4
