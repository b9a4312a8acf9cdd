"""Models that do not write one token after the other: right, or an error that says what they are.

`llama_cpp.Llama` ends the process with most of them; where it answers, so does ours, and the same.
"""

import itertools
import json

import llama_cpp
import numpy as np
import pytest

from aded_edge import Assistant, Llama, ModelError, PromptError
from tests.runtime.helpers import finished, in_a_process, said, take
from tests.unlike_decoders import LABELS, START, WIDTH, write_unlike

TEXTS = ["The tides", "are caused by the pull of the moon", "!"]
PROMPT = [1, 70, 80, 90, 71]
OTHER = [1, 99, 120, 55, 60, 33, 47]

WRITE_NOTHING = {
    "t5encoder": "is an embedding model: .* create_embedding",
    "bert": "is an embedding model: .* create_embedding",
    "reranker": "is an embedding model: .* create_embedding",
    "dream": "is a diffusion model: .* llama-diffusion-cli",
    "llada": "is a diffusion model: .* llama-diffusion-cli",
}


@pytest.fixture(scope="session")
def unlike_path(tmp_path_factory):
    """kind -> the file of such a model."""
    folder, written = tmp_path_factory.mktemp("unlike"), {}

    def path(kind):
        if kind not in written:
            written[kind] = folder / f"{kind.replace(' ', '-')}.gguf"
            write_unlike(written[kind], kind)
        return str(written[kind])

    return path


@pytest.fixture
def opened(unlike_path):
    """Open a model by our class; all are closed behind the test."""
    models = []

    def opened(kind, **options):
        defaults = {"n_ctx": 256, "n_threads": 1, "verbose": False, "store": None}
        models.append(Llama(unlike_path(kind), **{**defaults, **options}))
        return models[-1]

    yield opened
    for llama in models:
        llama.close()


@pytest.fixture
def theirs(unlike_path):
    """The same by llama_cpp's class."""
    models = []

    def theirs(kind, **options):
        defaults = {"n_ctx": 256, "n_threads": 1, "verbose": False}
        models.append(llama_cpp.Llama(unlike_path(kind), **{**defaults, **options}))
        return models[-1]

    yield theirs
    for llama in models:
        llama.close()


# Models that write nothing.


@pytest.mark.parametrize("drafting", ["auto", "off"])
@pytest.mark.parametrize(("kind", "words"), WRITE_NOTHING.items())
def test_a_model_that_writes_nothing_says_what_it_is_for(opened, kind, words, drafting):
    llama = opened(kind, drafting=drafting)
    for ask in (
        lambda: list(itertools.islice(llama.generate(PROMPT), 3)),
        lambda: llama.create_completion("Once"),
        lambda: llama.create_completion("Once", logit_bias={5: 1.0}),
        lambda: list(llama.create_completion("Once", stream=True)),
        lambda: llama.create_chat_completion([{"role": "user", "content": "Hi"}]),
    ):
        with pytest.raises(ModelError, match=words) as error:
            ask()
        assert "\n" not in str(error.value)
        assert llama.model_path in str(error.value)


@pytest.mark.parametrize("kind", WRITE_NOTHING)
def test_an_assistant_refuses_it_when_it_opens(unlike_path, kind, tmp_path):
    with pytest.raises(ModelError, match=WRITE_NOTHING[kind]):
        Assistant(unlike_path(kind), store=None, kv_folder=tmp_path)


@pytest.mark.parametrize("kind", ["bert", "dream"])
def test_evaluating_tokens_of_it_is_the_same_error(opened, kind):
    with pytest.raises(ModelError, match=WRITE_NOTHING[kind]):
        opened(kind).eval(PROMPT)


# Embeddings.


@pytest.mark.parametrize("kind", ["bert", "bert of tokens", "t5encoder"])
@pytest.mark.parametrize("normalize", [False, True])
def test_embeddings_are_llama_cpps(opened, theirs, kind, normalize):
    ours = opened(kind, embedding=True).embed(TEXTS, normalize=normalize)
    plain = theirs(kind, embedding=True).embed(TEXTS, normalize=normalize)
    assert ours == plain
    assert np.asarray(ours[0]).shape[-1] == WIDTH


def test_a_decoder_embeds_and_writes(tiny_settings, tiny_path):
    options = {**tiny_settings, "embedding": True, "n_ctx": 128}
    plain = llama_cpp.Llama(**options)
    with Llama(**options, store=None) as llama:
        assert llama.embed(TEXTS) == plain.embed(TEXTS)
        assert take(llama, PROMPT, 20) == list(
            itertools.islice(plain.generate(PROMPT, temp=0.0), 20)
        )
        assert "embedding" in llama.stats.plain_because
    plain.close()


def test_a_reranker_gives_one_number_for_each_label(opened):
    """llama_cpp reads as many numbers as a token's vector has, beyond those that there are."""
    llama = opened("reranker", embedding=True)
    scores = llama.embed(TEXTS)
    assert np.asarray(scores).shape == (len(TEXTS), len(LABELS))
    assert np.isfinite(scores).all()
    assert scores[0] != scores[1]
    assert llama.n_embd() == WIDTH
    assert len(llama.create_embedding("tides")["data"][0]["embedding"]) == len(LABELS)


def test_a_batch_of_texts_is_read_at_once_whatever_n_ubatch_says(opened, theirs):
    expected = theirs("bert", embedding=True).embed(TEXTS)
    assert opened("bert", embedding=True, n_ubatch=8).embed(TEXTS) == expected


def test_a_text_beyond_the_models_positions_is_cut_or_refused(opened, theirs):
    """The model has 512 positions. llama_cpp ends the process."""
    long = "x" * 700
    llama = opened("bert", embedding=True, n_ctx=1024, n_batch=1024, n_ubatch=1024)
    same = theirs("bert", embedding=True, n_ctx=512, n_batch=512, n_ubatch=512)
    np.testing.assert_allclose(llama.embed(long), same.embed(long), atol=1e-5)
    with pytest.raises(ValueError, match="exceed batch size of 512"):
        llama.embed(long, truncate=False)


# Encoder-decoder models.


def answer_of(llama, prompt, n):
    """What T5 says, by llama_cpp's parts: encode the prompt, then decode greedily."""
    llama.reset()
    llama._ctx.kv_cache_clear()
    llama._batch.set_batch(batch=prompt, n_past=0, logits_all=True)
    llama._ctx.encode(llama._batch)
    tokens, token = [], START
    for _ in range(n):
        llama.eval([token])
        token = llama.sample(temp=0.0)
        tokens.append(token)
    return tokens


@pytest.mark.parametrize("drafting", ["auto", "off"])
def test_an_encoder_reads_the_prompt_and_the_decoder_answers(opened, theirs, drafting):
    llama, plain = opened("t5", drafting=drafting), theirs("t5")
    for prompt in (PROMPT, OTHER, PROMPT, PROMPT[:2], PROMPT):
        assert take(llama, prompt, 30) == answer_of(plain, prompt, 30)
        assert llama.stats.prompt_tokens == len(prompt)
    expected = "encoder-decoder" if drafting == "auto" else "off"
    assert expected in llama.stats.plain_because


def test_its_answers_depend_on_the_prompt(opened):
    llama = opened("t5")
    assert take(llama, PROMPT, 30) != take(llama, OTHER, 30)


def test_its_completions_count_the_prompt(opened):
    llama = opened("t5")
    answer = llama.create_completion("Once upon a time", max_tokens=12, temperature=0.0)
    assert answer["usage"]["prompt_tokens"] == len(llama.tokenize(b"Once upon a time"))
    again = llama.create_completion(
        "Once upon a time", max_tokens=12, temperature=0.0, logit_bias={300: 0.0}
    )
    assert said(again) == said(answer)
    seeded = [
        said(llama.create_completion("Once", max_tokens=12, temperature=0.9, seed=7))
        for _ in range(2)
    ]
    assert seeded[0] == seeded[1]


def test_its_streams_in_turn_say_their_own(opened, theirs):
    llama, plain = opened("t5"), theirs("t5")
    streams = [llama.generate(prompt, temp=0.0) for prompt in (PROMPT, OTHER)]
    tokens = [[], []]
    for _ in range(12):
        for stream, own in zip(streams, tokens, strict=True):
            own.append(next(stream))
    assert tokens == [answer_of(plain, PROMPT, 12), answer_of(plain, OTHER, 12)]


@pytest.mark.parametrize("sizes", [{"n_batch": 16}, {"n_ubatch": 16}, {"n_batch": 64}])
def test_its_prompt_fits_into_one_batch_or_is_refused(opened, sizes):
    """llama.cpp ends the process where a prompt has more tokens than n_ubatch."""
    llama = opened("t5", **sizes)
    most = sizes.get("n_batch", 256)
    assert len(take(llama, PROMPT * (most // 5), 3)) == 3
    with pytest.raises(PromptError, match=f"one batch of at most {most}"):
        take(llama, [70] * (most + 1), 3)
    with pytest.raises(PromptError, match="empty"):
        take(llama, [], 3)


def test_what_llama_cpp_does_with_each_of_them(unlike_path):
    """It ends the process, or fails with an assertion: the reason for this file."""
    script = """
        import llama_cpp
        llama = llama_cpp.Llama(sys.argv[1], n_ctx=256, verbose=False)
        print(list(itertools.islice(llama.generate([1, 70, 80]), 3)))
    """
    for kind in ("t5", "bert", "dream"):
        done = in_a_process(script, unlike_path(kind))
        assert done.returncode != 0, kind


def test_teaching_such_a_model_is_refused_before_it_starts(unlike_path):
    script = """
        from click.testing import CliRunner
        from aded_edge.cli.main import cli
        said = []
        for path in sys.argv[1:]:
            for words in (["prime", path, "--minutes", "1"], ["doctor", path]):
                done = CliRunner().invoke(cli, [*words, "--store", "none"])
                said.append([done.exit_code, str(done.exception or done.output)])
        print(json.dumps(said))
    """
    done = in_a_process(script, *map(unlike_path, ("t5", "bert", "dream")))
    for code, text in json.loads(finished(done).splitlines()[-1]):
        assert code != 0
        assert "cannot" in text or "none" in text, text
