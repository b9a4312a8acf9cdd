"""The hub's cache is shared with other tools, and is used when the hub cannot be reached."""

from pathlib import Path

from tests.models.machine import FILES, REPO, weights


def test_what_main_was_last_comes_before_what_was_fetched_last(hub, machine):
    reference = f"hf:{REPO}:Q8_0"
    first = machine.resolve(reference)
    hub.repos[REPO]["tiny-Q8_0.gguf"] = weights("a mistake", 4000)
    mistake = Path(machine.run(f"print(models.fetch({reference!r}))"))
    hub.repos[REPO]["tiny-Q8_0.gguf"] = FILES["tiny-Q8_0.gguf"]
    assert machine.run(f"print(models.fetch({reference!r}))") == str(first)
    assert mistake.parent.stat().st_mtime > first.parent.stat().st_mtime

    assert machine.resolve(reference) == first


def test_other_tools_find_it_and_we_find_theirs(hub, machine):
    theirs = "import huggingface_hub as h; print(h.hf_hub_download({!r}, {!r}))"
    ours = machine.resolve(f"hf:{REPO}:Q4_0")
    hub.sent.clear()
    assert machine.run(theirs.format(REPO, "tiny-Q4_0.gguf")) == str(ours)
    assert hub.sent == []

    path = machine.run(theirs.format(REPO, "tiny-Q8_0.gguf"))
    hub.asked.clear()
    assert machine.resolve(f"hf:{REPO}:Q8_0") == Path(path)
    assert hub.asked == []


def test_what_is_cached_is_used_when_the_hub_is_gone(hub, machine):
    there = machine.resolve(f"hf:{REPO}:Q8_0")
    hub.stop()

    assert machine.resolve(f"hf:{REPO}:Q8_0") == there
    assert machine.resolve(f"hf:{REPO}") == there  # whatever is cached
    assert Path(machine.run(f"print(models.fetch('hf:{REPO}:Q8_0'))")) == there
    assert "cannot reach" in machine.fails_to_resolve(f"hf:{REPO}:Q4_0")


def test_what_is_cached_is_used_when_the_user_wants_no_network(hub, machine):
    there = machine.resolve(f"hf:{REPO}:Q8_0")
    hub.asked.clear()

    assert machine.resolve(f"hf:{REPO}", HF_HUB_OFFLINE="1") == there
    line = machine.fails_to_resolve(f"hf:{REPO}:Q4_0", HF_HUB_OFFLINE="1")
    assert line == (
        f"ModelFetchError: HF_HUB_OFFLINE is set, so {REPO} is not fetched; unset it, or take "
        "what 'aded-edge models list' shows"
    )
    assert hub.asked == []


def test_that_an_older_file_is_used_is_said(hub, machine):
    machine.resolve(f"hf:{REPO}:Q8_0")
    hub.stop()

    process = machine.start(f"models.fetch('hf:{REPO}:Q8_0')")
    _, err = process.communicate(timeout=60)

    assert process.returncode == 0
    assert "cannot reach" in err
    assert err.strip().endswith("using tiny-Q8_0.gguf, which is cached")


def test_half_of_a_split_model_is_no_model(hub, machine):
    hub.repos[REPO] = {f"big-Q4_K_M-0000{n}-of-00002.gguf": weights(n, 2000) for n in (1, 2)}
    first = machine.resolve(f"hf:{REPO}")
    (first.parent / "big-Q4_K_M-00002-of-00002.gguf").unlink()
    hub.stop()

    assert "cannot reach" in machine.fails_to_resolve(f"hf:{REPO}")


def test_nothing_is_fetched_against_the_users_will(hub, machine):
    line = machine.fails(f"models.resolve('hf:{REPO}:Q8_0', fetch=False)")

    assert line.startswith(f"ModelError: hf:{REPO}:Q8_0 is not on this machine; run")
    assert hub.asked == []
    there = machine.resolve(f"hf:{REPO}:Q8_0")
    assert machine.run(f"print(models.resolve('hf:{REPO}', fetch=False))") == str(there)
