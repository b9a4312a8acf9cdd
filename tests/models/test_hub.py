"""Downloads from a hub that runs on this machine: whole, continued after a break, or refused."""

import sys

import pytest

from tests.models.machine import FILES, REPO, wait_for


def test_a_download_that_breaks_goes_on_where_it_was(hub, machine):
    size = len(FILES["tiny-Q4_K_M.gguf"])
    hub.break_at = [2_500_000, 2_900_000]

    path = machine.resolve(f"hf:{REPO}")

    assert path.read_bytes() == FILES["tiny-Q4_K_M.gguf"]
    starts = [start for _, start, _ in hub.sent]
    assert len(starts) == 3
    assert starts[0] == 0
    assert 0 < starts[1] < starts[2] < size


def test_a_killed_download_is_gone_on_with_by_the_next_run(hub, machine):
    hub.hold_at = 2_500_000
    process = machine.start(f"models.resolve('hf:{REPO}')")
    assert hub.held.wait(30)
    assert wait_for(lambda: any(path.stat().st_size for path in machine.partials()))
    process.kill()
    process.communicate(timeout=30)
    hub.go_on.set()
    hub.hold_at = None

    path = machine.resolve(f"hf:{REPO}")

    assert path.read_bytes() == FILES["tiny-Q4_K_M.gguf"]
    assert [file for file, _, _ in hub.sent] == ["tiny-Q4_K_M.gguf"] * 2
    assert hub.sent[1][1] > 0
    assert machine.partials() == []


def test_a_download_that_stays_broken_is_one_line_and_keeps_what_came(hub, machine):
    hub.break_at = [2_500_000] + [0] * 10

    line = machine.fails_to_resolve(f"hf:{REPO}")

    assert "stopped sending" in line
    assert "the same command goes on from there" in line
    hub.break_at = []
    hub.sent.clear()
    assert machine.resolve(f"hf:{REPO}").read_bytes() == FILES["tiny-Q4_K_M.gguf"]
    assert hub.sent[0][1] > 0


def test_a_hub_that_always_begins_at_the_first_byte_is_put_up_with(hub, machine):
    hub.ranges = False
    hub.break_at = [2_500_000]

    assert machine.resolve(f"hf:{REPO}").read_bytes() == FILES["tiny-Q4_K_M.gguf"]
    assert [start for _, start, _ in hub.sent] == [0, 0]


def test_more_than_the_whole_is_no_beginning(hub, machine):
    hub.break_at = [2_500_000] + [0] * 10
    machine.fails_to_resolve(f"hf:{REPO}")
    (partial,) = machine.partials()
    partial.write_bytes(bytes(len(FILES["tiny-Q4_K_M.gguf"]) + 1))
    hub.break_at = []

    assert machine.resolve(f"hf:{REPO}").read_bytes() == FILES["tiny-Q4_K_M.gguf"]


def test_what_arrives_damaged_is_not_kept(hub, machine):
    hub.break_at = [2_500_000] + [0] * 10
    machine.fails_to_resolve(f"hf:{REPO}")
    (partial,) = machine.partials()
    partial.write_bytes(bytes(partial.stat().st_size))
    hub.break_at = []

    assert "arrived damaged" in machine.fails_to_resolve(f"hf:{REPO}")
    assert machine.resolve(f"hf:{REPO}").read_bytes() == FILES["tiny-Q4_K_M.gguf"]


def test_two_at_once_download_once(hub, machine):
    hub.hold_at = 2_500_000
    first = machine.start(f"print(models.resolve('hf:{REPO}'))")
    assert hub.held.wait(30)
    second = machine.start(f"print(models.resolve('hf:{REPO}'))")
    assert wait_for(lambda: sum(verb == "HEAD" for verb, _ in hub.asked) == 2)
    hub.go_on.set()

    paths = [process.communicate(timeout=60)[0] for process in (first, second)]

    assert paths[0] == paths[1] != ""
    assert len(hub.sent) == 1


def test_no_room_is_told_before_anything_is_fetched(hub, machine):
    hub.claimed["tiny-Q4_K_M.gguf"] = 10**17

    line = machine.fails_to_resolve(f"hf:{REPO}")

    assert line.startswith("ModelFetchError: someone/Tiny-GGUF/tiny-Q4_K_M.gguf needs 100.0 PB")
    assert "HF_HOME" in line
    assert hub.sent == []


@pytest.mark.skipif(sys.platform == "win32", reason="has no limits of this kind")
def test_a_disk_that_fills_up_is_one_line(machine):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6)); "

    line = machine.fails(f"{limit} models.resolve('hf:{REPO}')")

    assert "cannot write" in line
    assert "File too large; free some room or set HF_HOME" in line


def test_a_gated_repo_tells_how_to_get_in(hub, machine):
    hub.gated.add(REPO)

    line = machine.fails_to_resolve(f"hf:{REPO}")

    assert line == (
        f"ModelFetchError: {REPO} is gated; accept its terms on {hub.url}/{REPO}, then run "
        "'hf auth login' or set HF_TOKEN"
    )


def test_a_token_opens_a_gated_repo(hub, machine):
    hub.gated.add(REPO)
    path = machine.resolve(f"hf:{REPO}", HF_TOKEN=hub.token)
    assert path.read_bytes() == FILES["tiny-Q4_K_M.gguf"]
    assert hub.tokens_at_store == {None}
    # Once cached, it needs no token, because the hub is not asked.
    assert machine.resolve(f"hf:{REPO}") == path


def test_a_stale_token_is_named_as_the_cause(hub, machine):
    hub.gated.add(REPO)
    line = machine.fails_to_resolve(f"hf:{REPO}", HF_TOKEN="hf_stale")
    assert "your token in HF_TOKEN is not valid" in line
    assert "hf auth login" in line


def test_a_repo_that_is_not_there(hub, machine):
    line = machine.fails_to_resolve("hf:someone/Nothing")
    assert line.startswith(f"ModelFetchError: {hub.url} has no repo someone/Nothing, or keeps it")


def test_a_repo_without_models(hub, machine):
    hub.repos[REPO] = {"README.md": b"", "mmproj.gguf": b"GGUF", "model.safetensors": b"x"}
    line = machine.fails_to_resolve(f"hf:{REPO}")
    assert line.startswith(f"ModelFetchError: {REPO} has no GGUF files; choose")


@pytest.mark.parametrize("what", ["Q9_9", "other.gguf", "mmproj-tiny-F16.gguf"])
def test_a_file_that_is_not_there_names_what_is(machine, what):
    line = machine.fails_to_resolve(f"hf:{REPO}:{what}")
    assert line == f"ModelFetchError: {REPO} has no {what}; it has Q4_0, Q4_K_M, Q8_0"


def test_a_name_that_no_repo_can_have(hub, machine):
    assert "cannot be a repo's name" in machine.fails_to_resolve("hf:some--one/x")
    assert hub.asked == []
