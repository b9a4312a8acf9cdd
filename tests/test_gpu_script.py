"""scripts/test-gpu, except for compiling and the tests that it runs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clones import ROOT, copy_scripts, install_by_stand_in, put, run, tools_in

HEADER = ROOT / "scripts/vulkan_layer_settings.h"

NEEDED = {"VK_DRIVER_FILES": "/a/driver.json"}
"""An environment in which a driver is there, whatever this machine has."""


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    tools = tools_in(tmp_path / "bin", "id", "tr")
    put(tools / "glslc", "exit 0")
    put(tools / "uname", "echo Linux")
    return tools


@pytest.fixture
def clone(tmp_path: Path, tools: Path) -> Path:
    clone = copy_scripts(tmp_path / "my clone")
    install_by_stand_in(clone, tools)
    return clone


def test_it_builds_for_vulkan_in_an_environment_of_its_own(clone: Path, tools: Path) -> None:
    done = run(clone / "scripts/test-gpu", tools, "-x", **NEEDED)

    assert done.returncode == 0, done.stderr
    assert "-DGGML_VULKAN=ON\n" in done.stderr
    assert done.stdout == "-m pytest -m gpu tests/llamacpp tests/decode tests/runtime -x\n"
    assert (clone / ".venv-vulkan/bin/python").exists()
    assert not (clone / ".venv").exists()
    stamp = (clone / ".venv-vulkan/aded-edge.stamp").read_text()
    assert sum(line.startswith("header ") for line in stamp.splitlines()) == 2


def test_another_kind_of_gpu_and_more_flags_may_be_given(clone: Path, tools: Path) -> None:
    done = run(clone / "scripts/test-gpu", tools, "cuda", CMAKE_ARGS="-DX=1")

    assert "-DGGML_CUDA=ON -DX=1\n" in done.stderr
    assert (clone / ".venv-cuda/bin/python").exists()


def test_an_unknown_kind_is_one_line(clone: Path, tools: Path) -> None:
    done = run(clone / "scripts/test-gpu", tools, "opengl")

    assert done.returncode == 1
    assert done.stderr == ("aded-edge: unknown kind of GPU: opengl; give vulkan, cuda or metal\n")


def test_what_is_missing_is_named_where_it_cannot_be_installed(clone: Path, tools: Path) -> None:
    (tools / "glslc").unlink()
    put(tools / "c++", 'case "$*" in *-E*) exit 1;; esac')

    done = run(clone / "scripts/test-gpu", tools, "vulkan", **NEEDED)

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "sudo apt install glslc libvulkan-dev spirv-headers)" in line


def test_what_is_missing_is_installed_by_root(clone: Path, tools: Path) -> None:
    (tools / "glslc").unlink()
    (tools / "id").unlink()
    put(tools / "id", "echo 0")
    put(tools / "apt-get", 'echo "apt-get $*"')

    done = run(clone / "scripts/test-gpu", tools, "vulkan", **NEEDED)

    assert done.returncode == 0
    assert "apt-get -qq install -y --no-install-recommends glslc\n" in done.stderr


def test_without_a_device_it_fails(clone: Path, tools: Path) -> None:
    run(clone / "scripts/test-gpu", tools, **NEEDED)
    python = clone / ".venv-vulkan/bin/python"
    python.write_text(python.read_text().replace('echo "$@"', '[ "$1" = -c ] || echo "$@"'))

    done = run(clone / "scripts/test-gpu", tools, **NEEDED)

    assert done.returncode == 1
    assert done.stdout == ""
    assert "finds no device" in done.stderr


def test_only_where_no_gpu_is_found_the_software_device_is_taken(clone: Path, tools: Path) -> None:
    run(clone / "scripts/test-gpu", tools, **NEEDED)
    python = clone / ".venv-vulkan/bin/python"
    shown = 'echo "visible: $GGML_VK_VISIBLE_DEVICES"'
    nothing = '[ "$1" = -c ] && [ -z "$FOUND$GGML_VK_VISIBLE_DEVICES" ]'
    listed = f"{nothing} || {shown}"
    python.write_text(python.read_text().replace('echo "$@"', listed))

    without = run(clone / "scripts/test-gpu", tools, **NEEDED)
    found = run(clone / "scripts/test-gpu", tools, FOUND="a GPU", **NEEDED)

    assert without.stdout == "visible: 0\n"
    assert found.stdout == "visible: \n"


USE = """
static int layers(const std::vector<vk::LayerSettingEXT> & settings) {
    vk::LayerSettingsCreateInfoEXT info(settings);
    const void * next = &info;
    return next != nullptr && settings[0].type == vk::LayerSettingTypeEXT::eBool32;
}
int main() {
    unsigned on = 1;
    return !layers({{"layer", "setting", vk::LayerSettingTypeEXT::eBool32, 1, &on}});
}
"""
"""What llama.cpp does with the three types."""


@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("known", [False, True])
def test_the_header_adds_the_types_only_where_vulkan_lacks_them(
    tmp_path: Path, known: bool
) -> None:
    core = tmp_path / "vulkan/vulkan_core.h"
    core.parent.mkdir()
    core.write_text("#define VK_EXT_layer_settings 1\n" if known else "")
    (tmp_path / "use.cpp").write_text(
        "#include <vector>\n" + (USE if not known else "int main() {}")
    )
    own = (
        "namespace vk { struct LayerSettingEXT {}; enum class LayerSettingTypeEXT { eBool32 }; }\n"
    )
    (tmp_path / "use.cpp").open("a").write(own if known else "")

    built = subprocess.run(
        ["c++", "-std=c++17", "-I", tmp_path, "-include", HEADER, "use.cpp", "-o", "use"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )

    assert built.returncode == 0, built.stderr
    assert subprocess.run([tmp_path / "use"]).returncode == 0
