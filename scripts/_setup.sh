# Sourced by the other scripts: makes sure that .venv has the packages of requirements.lock.
#
# A script that needs another environment than .venv sets ADED_EDGE_VENV to its name before.
# Finds out quickly whether .venv is up to date; if it is not, runs _install.py. Does not know what
# the package does. Sets ROOT, PYTHON and MODEL. Writes to stderr only: stdout belongs to the
# program that runs afterwards.
# shellcheck shell=bash

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." >/dev/null && pwd -P)
VENV=$ROOT/${ADED_EDGE_VENV:-.venv}
PYTHON=$VENV/bin/python
STAMP=$VENV/aded-edge.stamp
MODEL=$ROOT/models/SmolLM2-135M-Instruct.Q4_1.gguf

die() {
    echo "aded-edge: $*" >&2
    exit 1
}

# Prints a title, runs the command, and returns its exit status.
step() {
    echo "== $1" >&2
    shift
    "$@"
}

# Prints "3.11" if this Python can run aded-edge, and nothing otherwise.
usable_version() {
    "$1" -ISc 'import sys; v = sys.version_info; v < (3, 10) or print("%d.%d" % v[:2])' \
        2>/dev/null || true
}

# Workers on other machines (README). It adds a backend and changes no kernel.
ALWAYS=-DGGML_RPC=ON

# Prints everything that an install depends on, except the version of Python. Otherwise llama.cpp is
# compiled with its own defaults, as pip does it, unless the user gives flags
# (CMAKE_ARGS=-DGGML_CUDA=on scripts/chat). Flags that were once given stay in force: to leave them
# out later must not compile llama.cpp again.
recipe() {
    local cmake="default" chosen
    if [ -n "${CMAKE_ARGS+given}" ]; then
        cmake="given $CMAKE_ARGS"
    elif chosen=$(grep -s '^cmake given ' "$STAMP"); then
        cmake=${chosen#cmake }
    fi
    echo "root $ROOT"
    echo "cmake $cmake"
    echo "always $ALWAYS"
    echo "header $(cksum <"$ROOT/scripts/amx_tile_config.h")"
    if [[ $cmake == *GGML_VULKAN* ]]; then
        echo "header $(cksum <"$ROOT/scripts/vulkan_layer_settings.h")"
    fi
    echo "files $(cat "$ROOT/requirements.lock" "$ROOT/pyproject.toml" | cksum)"
}

find_python() {
    local python
    for python in python3 python3.13 python3.12 python3.11 python3.10; do
        if [ -n "$(usable_version "$python")" ]; then
            echo "$python"
            return
        fi
    done
    die "needs Python 3.10 or newer, and found $(python3 --version 2>&1 || true): install one" \
        "(https://www.python.org/downloads/) and put it on PATH as python3"
}

need_compiler() {
    if ! "${CC:-cc}" --version >/dev/null 2>&1 || ! "${CXX:-c++}" --version >/dev/null 2>&1; then
        die "needs a C and C++ compiler for llama.cpp: install one (Debian, Ubuntu: sudo apt" \
            "install build-essential; Fedora: sudo dnf install gcc-c++; macOS: xcode-select" \
            "--install)"
    fi
}

setup() {
    local recipe version python cmake
    recipe=$(recipe)
    version=$(usable_version "$PYTHON")
    if [ -e "$STAMP" ] && [ "$(cat "$STAMP")" = "$recipe"$'\n'"python $version" ]; then
        return
    fi
    python=$(find_python)
    need_compiler
    cmake=$(sed -n 's/^cmake given //p' <<<"$recipe")
    CMAKE_ARGS="$ALWAYS${cmake:+ $cmake}" "$python" -I "$ROOT/scripts/_install.py" "$ROOT" "$VENV" "$recipe"
}

fetch_default_model() {
    "$PYTHON" "$ROOT/scripts/fetch_model.py" >&2
}

setup
