"""A model that talks to itself: what it says, what is learned of it, and what is kept."""

import contextlib
import signal
import subprocess
import sys

import numpy as np
import pytest

from aded_edge import Llama
from aded_edge.draft.drafter import AdaptiveDrafter
from aded_edge.errors import ConfigError, ModelError, PromptError, StoreError
from aded_edge.llamacpp.fingerprint import model_fingerprint
from aded_edge.llamacpp.parallel import LEAST_ROOM, ParallelTarget
from aded_edge.llamacpp.prompt import Prompter
from aded_edge.store import Store
from aded_edge.teach import learn as learn_module
from aded_edge.teach import prime as prime_module
from aded_edge.teach.answers import ParallelAnswers, sample
from aded_edge.teach.prime import in_template, load_openings, prime
from tests.draft.reading import lookup


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store.db"


@pytest.fixture
def options(store):
    """Arguments of a short run."""
    return {
        "minutes": 0.01,
        "sequences": 3,
        "openings": None,
        "temperature": 0.8,
        "max_tokens": 12,
        "seed": 1,
        "store": str(store),
        "ctx": 1024,
        "threads": 1,
        "gpu_layers": 0,
        "flash_attn": False,
    }


@pytest.fixture
def choir(load_tiny):
    """A choir of the tiny model, whose tokens are bytes."""

    def choir(prompts=("ab", "cd", "ef"), sequences=3, **changes):
        own = ParallelAnswers(
            ParallelTarget(load_tiny(drafting="off"), sequences),
            [np.frombuffer(text.encode(), np.uint8).astype(np.int32) + 3 for text in prompts],
            **{"most_tokens": 20, "temperature": 0.8, "seed": 0, **changes},
        )
        own.sequences = sequences
        return own

    return choir


def taught(choir, steps):
    """What a drafter learns of so many steps."""
    drafter = AdaptiveDrafter(keep_news=True)
    for _ in range(steps):
        choir.step(drafter)
    choir.end(drafter)
    return drafter.take_news().learned()


def said(learned, opening):
    """What the log holds behind an opening."""
    log = learned.tokens.tolist()
    opening = [byte + 3 for byte in opening.encode()]
    (at,) = [i for i in range(len(log)) if log[i : i + len(opening)] == opening]
    answer = log[at + len(opening) :]
    return answer[: answer.index(-1)] if -1 in answer else answer


# --- what a user gets -----------------------------------------------------------------------


def test_a_chat_knows_how_the_model_talks(model_path, store, options, capsys):
    prime(model_path, **{**options, "minutes": 0.04})
    out = capsys.readouterr().out
    assert "tokens/s" in out
    assert "times one sequence" in out
    assert f"the store, {store}" in out
    with Llama(model_path, store=store, n_ctx=256, n_threads=1, verbose=False) as llama:
        assert len(llama._loop.drafter.matrix) > 20
        with Store.open(store) as opened:
            assert opened.model(model_fingerprint(llama), "x").parts()


def test_openings_of_the_user_take_the_place_of_ours(tiny_path, tmp_path, options, store):
    path = tmp_path / "openings.txt"
    path.write_text("\nzebra\n\n", encoding="utf-8-sig")
    assert load_openings(path) == ["zebra"]
    prime(tiny_path, **{**options, "openings": path})
    with Store.open(store) as opened, opened._file.reading() as conn:
        ((fingerprint,),) = conn.execute("SELECT fingerprint FROM models").fetchall()
    with Store.open(store) as opened:
        parts, _ = opened.model(fingerprint, "tiny").load()
    text = bytes(t - 3 for t in np.concatenate([p.tokens for p in parts]).tolist() if t >= 3)
    assert b"zebra\n\n" in text


def test_our_own_openings_are_many_and_fit_into_the_default_room(model_path):
    openings = load_openings(None)
    assert len(openings) == len(set(openings)) >= 36
    with Llama(model_path, drafting="off", n_ctx=256, verbose=False) as llama:
        prompts = in_template(Prompter(llama), openings, LEAST_ROOM)
        assert b"<|im_start|>assistant" in llama.detokenize(prompts[0].tolist(), special=True)


# --- what is said ---------------------------------------------------------------------------


def test_greedy_answers_are_those_of_the_model_alone(choir, tiny_truth):
    learned = taught(choir(temperature=0, most_tokens=12), 12)
    for opening in ("ab", "cd", "ef"):
        tokens = [byte + 3 for byte in opening.encode()]
        assert said(learned, opening) == tiny_truth(tokens, 12)


def test_prompts_with_a_common_beginning_get_the_answers_they_get_alone(choir, tiny_truth):
    own = choir(["system ab", "system abc", "system x"], 2, temperature=0, most_tokens=4)
    evaluated = []
    real = own._target.evaluate
    own._target.evaluate = lambda sequences, texts: (
        evaluated.extend(map(len, texts)) or real(sequences, texts)
    )
    log = taught(own, 16).tokens.tolist()
    for opening in ("system ab", "system abc", "system x"):
        tokens = [byte + 3 for byte in opening.encode()]
        answer = tiny_truth(tokens, 4)
        behind = tokens[-8:] + answer  # the last of a prompt stand before its answer
        assert any(log[i : i + len(behind)] == behind for i in range(len(log)))
    assert sum(n > 4 for n in evaluated) == 2  # later prompts share the beginning


def test_the_seed_decides(choir):
    runs = [taught(choir(seed=seed), 30).tokens.tolist() for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_answers_end_at_their_limit_and_make_room_for_others(choir):
    own = choir(["ab"], sequences=2, most_tokens=5)
    taught(own, 11)
    assert own.tokens == 22
    assert own.answers >= 4  # one may have ended by itself


def test_no_answer_outgrows_its_room(choir):
    own = choir(["abcdefgh"], sequences=2, most_tokens=100)
    own._target.room = 12
    learned = taught(own, 20)
    log = "".join("|" if t < 0 else "x" for t in learned.tokens).split("|")
    assert max(map(len, log)) == 12


def test_samples_follow_the_distribution():
    rng = np.random.default_rng(0)
    tokens = np.tile(np.asarray([[7, 8, 9]], np.int32), (20_000, 1))
    probs = np.tile(np.asarray([[0.6, 0.3, 0.1]], np.float32), (20_000, 1))
    for temperature in (1.0, 0.5):
        counts = np.bincount(sample(tokens, probs, temperature, rng), minlength=10)[7:]
        expected = np.asarray([0.6, 0.3, 0.1]) ** (1 / temperature)
        assert counts / 20_000 == pytest.approx(expected / expected.sum(), abs=0.015)
    assert set(sample(tokens, probs, 0, rng)) == {7}
    assert set(sample(tokens, probs, 1e-6, rng)) == {7}


# --- what is learned ------------------------------------------------------------------------


def test_the_distribution_is_learned_and_not_only_what_was_chosen(choir, tiny_plain):
    learned = taught(choir(["ab"], sequences=1, most_tokens=8), 8)
    answer = said(learned, "ab")
    drafter = AdaptiveDrafter()
    drafter.absorb(learned)
    tokens, shares = lookup(drafter.matrix, ord("a") + 3, ord("b") + 3)
    tiny_plain.reset()
    tiny_plain.eval([ord("a") + 3, ord("b") + 3])
    logits = tiny_plain._ctx.get_logits()
    logits = np.ctypeslib.as_array(logits, shape=(tiny_plain.n_vocab(),)).astype(float)
    probs = np.exp(logits - logits.max())
    probs /= probs.sum()
    for token, share in zip(tokens.tolist(), shares.tolist(), strict=True):
        # Half of the weight is the token chosen, half is the target's distribution.
        assert share == pytest.approx((probs[token] + (token == answer[0])) / 2, abs=0.02)
    assert len(tokens) > 1 or probs.max() > 0.9


def test_the_prompt_is_context_and_is_not_learned(choir):
    learned = taught(choir(["abcdefgh"], sequences=1), 4)
    drafter = AdaptiveDrafter()
    drafter.absorb(learned)
    assert lookup(drafter.matrix, ord("a") + 3, ord("b") + 3)[0].size == 0
    assert lookup(drafter.matrix, ord("g") + 3, ord("h") + 3)[0].size > 0


# --- mistakes and interruptions -------------------------------------------------------------


def test_mistakes_are_said(tiny_path, tmp_path, options):
    with pytest.raises(ConfigError, match="cannot read openings"):
        prime(tiny_path, **{**options, "openings": tmp_path / "gone"})
    (tmp_path / "bare").write_text("\n \n")
    with pytest.raises(ConfigError, match="no openings"):
        prime(tiny_path, **{**options, "openings": tmp_path / "bare"})
    (tmp_path / "long").write_text("short\n" + "long " * 200)
    with pytest.raises(PromptError, match="'long long .* fewer --sequences"):
        prime(tiny_path, **{**options, "openings": tmp_path / "long"})
    with pytest.raises(ModelError, match=r"gone\.gguf"):
        prime(tmp_path / "gone.gguf", **options)
    with pytest.raises(StoreError):
        prime(tiny_path, **{**options, "store": str(tmp_path)})
    with pytest.raises(ConfigError, match="keeps nothing"):
        prime(tiny_path, **{**options, "store": "none"})


def test_a_model_that_never_drafts_is_refused(tiny_path, options, monkeypatch):
    monkeypatch.setattr(learn_module, "why_plain", lambda llama: "it is recurrent")
    with pytest.raises(ModelError, match="no use for a matrix: it is recurrent"):
        prime(tiny_path, **options)


WORKER = """
import sys
from aded_edge.cli import main
from aded_edge.teach import lessons, prime
prime.SAVE_SECONDS = 0.2
real = lessons.Lessons.add
def add(*arguments):
    kept = real(*arguments)
    print("kept", flush=True)
    return kept
lessons.Lessons.add = add
sys.exit(main.guarded(main.cli, ["prime", *sys.argv[1:]]))
"""


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGKILL])
def test_what_was_said_is_kept_though_the_process_ends_early(tiny_path, store, signal_):
    arguments = ["--minutes", "10", "--max-tokens", "20", "--threads", "1", "--sequences", "2"]
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tiny_path), "--store", str(store), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with contextlib.closing(process.stdout):
        assert process.stdout.readline() == "kept\n"
        process.send_signal(signal_)
        rest = process.stdout.read()
    assert process.wait(60) == (130 if signal_ == signal.SIGINT else -signal.SIGKILL)
    if signal_ == signal.SIGINT:
        assert "tokens/s" in rest
    with Store.open(store) as opened, opened._file.reading() as conn:
        (tokens,) = conn.execute("SELECT sum(tokens) FROM parts").fetchone()
    assert tokens > 20


def test_saving_does_not_stop_the_talk(tiny_path, options, store, monkeypatch):
    monkeypatch.setattr(prime_module, "SAVE_SECONDS", 0.0)
    prime(tiny_path, **{**options, "minutes": 0.004})
    with Store.open(store) as opened, opened._file.reading() as conn:
        (parts,) = conn.execute("SELECT max(id) FROM parts").fetchone()
    assert parts > 2
