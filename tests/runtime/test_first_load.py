"""Damaged and hostile model files: an error of ours, in a process that goes on.

All files are loaded by one child process, so that one that ends it is seen here as an end.
"""

import json
import os
import random
import shutil
import socket
import subprocess

import pytest

from aded_edge import AdapterError, Llama, ModelError
from tests.gguf_damage import read
from tests.runtime.helpers import command
from tests.runtime.hostile import ALLOWED, REFUSED, damaged

CUTS, FLIPS = 20, 50

MOST_BYTES = 1 << 30
"""Memory that none of the processes may exceed."""

SCRIPT = """
import resource, time
import aded_edge.runtime.first_load

aded_edge.runtime.first_load._SECONDS = 4  # of computing; the template without end takes them

def peak():
    both = [resource.getrusage(who).ru_maxrss for who in
            (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    most = 1024 * max(both)
    return most if most > inherited else 0

inherited = 0
inherited = peak()  # what the process that started this one had: Linux hands it on

def tried(path):
    try:
        with load(path, drafting="off", n_ctx=64) as llama:
            list(itertools.islice(llama.generate([1, 70, 80], temp=0.0), 3))
    except AdedError as error:
        return [type(error).__name__, str(error)]
    except Exception as error:
        return ["not ours", repr(error)]
    return ["", ""]
"""


@pytest.fixture(scope="module")
def tell(tmp_path_factory):
    """(script, arguments) -> {name: [error, its text, peak of the memory so far]} as it says."""

    def tell(script, *arguments):
        child = subprocess.run(
            command(SCRIPT + script, *arguments),
            capture_output=True, text=True, timeout=1200, check=False,
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))},
        )  # fmt: skip
        said = {name: rest for name, *rest in map(json.loads, child.stdout.splitlines())}
        assert child.returncode == 0, (list(said)[-1:], child.stderr[-2000:])
        return said

    return tell


EACH_FILE = """
for name in sorted(os.listdir(sys.argv[1])):
    print(json.dumps([name, *tried(os.path.join(sys.argv[1], name)), peak()]), flush=True)
"""


@pytest.fixture(scope="module")
def told(tell, tiny_path, tmp_path_factory):
    """What is said of each damaged copy of the tiny model."""
    folder, whole = tmp_path_factory.mktemp("hostile"), tiny_path.read_bytes()
    for name, change in (REFUSED | ALLOWED).items():
        header, length = read(whole)
        (folder / name).write_bytes(damaged(header, whole[length:], change))
    _, length = read(whole)
    places = random.Random(0).sample(range(4, length), FLIPS)
    for number, place in enumerate(places):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << number % 8
        (folder / f"flip {number}").write_bytes(flipped)
    for number in range(CUTS):
        cut = len(whole) * number // CUTS if number % 2 else length * number // CUTS
        (folder / f"cut {number}").write_bytes(whole[:cut])
    return tell(EACH_FILE, folder)


def assert_told(said):
    error, text, peak = said
    assert error in ("", ModelError.__name__), text
    assert "\n" not in text
    assert peak < MOST_BYTES


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_that_no_model_has_is_refused(told, kind):
    error, text, _ = said = told[kind]
    assert_told(said)
    assert error == ModelError.__name__
    assert kind in text, "the file is named"
    assert len(text) < 600


@pytest.mark.parametrize("kind", ALLOWED)
def test_an_odd_file_answers_or_is_refused(told, kind):
    assert_told(told[kind])


@pytest.mark.parametrize("number", range(CUTS))
def test_a_file_that_is_cut_anywhere_is_refused(told, number):
    assert_told(told[f"cut {number}"])
    assert told[f"cut {number}"][0]


@pytest.mark.parametrize("number", range(FLIPS))
def test_a_flipped_bit_ends_in_an_answer_or_an_error(told, number):
    assert_told(told[f"flip {number}"])


def test_the_reason_is_llama_cpps_own(told):
    assert "unknown model architecture: 'fantasy'" in told["unknown architecture"][1]
    assert "ends the process (llama-model.cpp" in told["layers 0"][1]
    assert "LLAMA_MAX_LAYERS" in told["layers 0"][1]
    assert "invalid n_rot: 7" in told["rope of 7 dimensions"][1]
    assert "clip_model_path" in told["a picture encoder"][1]


CHANGING = """
path, changes = sys.argv[1], json.loads(sys.argv[2])
for name, place, byte in changes:
    with open(path, "r+b") as file:
        file.seek(place)
        before = file.read(1)
        file.seek(place)
        file.write(bytes([before[0] ^ byte]))
    print(json.dumps([name, *tried(path), peak()]), flush=True)
    with open(path, "r+b") as file:
        file.seek(place)
        file.write(before)
for name, length in json.loads(sys.argv[3]):
    os.truncate(path, length)
    print(json.dumps([name, *tried(path), peak()]), flush=True)
"""


@pytest.fixture(scope="module")
def told_of_a_real_one(tell, model_path, tmp_path_factory):
    """The same of SmolLM2, whose header has two million bytes, nearly all of them vocabulary."""
    copy = tmp_path_factory.mktemp("real") / "copy.gguf"
    shutil.copy(model_path, copy)
    with copy.open("rb") as file:
        _, length = read(file.read(8 << 20))
    dice = random.Random(1)
    borders = [(4, 2000)] * 20 + [(length - 15_000, length)] * 20 + [(4, length)] * 10
    flips = [
        (f"flip {number}", dice.randrange(*where), 1 << dice.randrange(8))
        for number, where in enumerate(borders)
    ]
    size = copy.stat().st_size
    cuts = [size - 1, *(size * part // 10 for part in range(9, 0, -1))]
    cuts += [length * part // 10 for part in range(9, -1, -1)]
    named = [(f"cut {number}", cut) for number, cut in enumerate(cuts)]
    return tell(CHANGING, copy, json.dumps(flips), json.dumps(named))


@pytest.mark.parametrize("number", range(CUTS))
def test_a_real_file_that_is_cut_anywhere_is_refused(told_of_a_real_one, number):
    assert_told(told_of_a_real_one[f"cut {number}"])
    assert told_of_a_real_one[f"cut {number}"][0]


@pytest.mark.parametrize("number", range(FLIPS))
def test_a_flipped_bit_of_a_real_file_ends_in_an_answer_or_an_error(told_of_a_real_one, number):
    assert_told(told_of_a_real_one[f"flip {number}"])


# What is no file, or is not whole.


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("folder", "is a folder"),
        ("pipe", "is no file"),
        ("socket", "is no file"),
        ("device", "is no file"),
        ("loop", "does not exist"),
        ("empty", "is no GGUF file"),
        ("nothing", "does not exist"),
    ],
)
def test_what_is_no_file_is_told_and_not_opened(tmp_path, kind, words):
    """Opening a pipe would wait for its other end."""
    path = tmp_path / kind
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "empty":
        path.touch()
    with pytest.raises(ModelError, match=words) as error:
        Llama(str(path), store=None)
    assert str(path) in str(error.value)


def test_a_part_alone_says_that_others_are_missing(tmp_path, tiny_path):
    header, length = read(whole := tiny_path.read_bytes())
    header.set("split.no", 2, 0)
    header.set("split.count", 2, 3)
    header.set("split.tensors.count", 5, len(header.tensors))
    path = tmp_path / "part-00001-of-00003.gguf"
    path.write_bytes(header.write() + whole[length:])
    with pytest.raises(ModelError, match="part-00002-of-00003.gguf"):
        Llama(str(path), store=None, verbose=False)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("adapter", "LoRA adapter; give it as lora_path"),
        ("mmproj", "give it to a chat handler as clip_model_path"),
        ("imatrix", "no model"),
    ],
)
def test_a_file_of_another_kind_says_what_it_is_for(tmp_path, tiny_path, kind, words):
    header, _ = read(tiny_path.read_bytes())
    header.set("general.type", 8, kind)
    header.tensors.clear()
    path = tmp_path / f"{kind}.gguf"
    path.write_bytes(header.write())
    with pytest.raises(ModelError, match=words):
        Llama(str(path), store=None, verbose=False)


# LoRA adapters are files too.


@pytest.mark.parametrize("content", ["missing", "text", "another model"])
def test_an_adapter_that_is_none_is_an_error(tmp_path, tiny_path, content):
    path = tmp_path / "adapter.gguf"
    if content == "text":
        path.write_text("Once upon a time")
    elif content == "another model":
        shutil.copy(tiny_path, path)
    with pytest.raises(AdapterError, match=r"adapter\.gguf") as error:
        Llama(str(tiny_path), lora_path=str(path), n_ctx=64, store=None, verbose=False)
    assert isinstance(error.value, ModelError)
    assert isinstance(error.value, RuntimeError), "as llama_cpp raises it"
