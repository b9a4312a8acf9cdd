"""A user's machine: processes that know a hub on this machine, a models folder and a cache.

The code runs in its own processes, because huggingface_hub reads its settings when it is imported.
Nothing is fetched from the network.
"""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import aded_edge

REPO = "someone/Tiny-GGUF"

CODE = f"""
import sys, types
from pathlib import Path

# The package without its __init__, because loading all of it would take most of the test's time.
package = sys.modules["aded_edge"] = types.ModuleType("aded_edge")
package.__path__ = [{str(Path(aded_edge.__file__).parent)!r}]
from aded_edge import errors, models
from aded_edge.models import folder, hub

def command(*arguments):
    from aded_edge.cli.models import models
    models.main(arguments, standalone_mode=False)

models_folder = Path(sys.argv[1])
folder.default_model_path = lambda: models_folder / folder.DEFAULT_MODEL.file
hub._PAUSE = 0.01
try:
    exec(sys.argv[2])
except errors.AdedError as error:
    public = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == errors.__name__]
    sys.exit(f"{{public[0]}}: {{error}}")
"""


def weights(seed, size=3_000_000):
    """Pseudo-random bytes that depend on the seed."""
    return b"GGUF" + hashlib.shake_128(str(seed).encode()).digest(size)


FILES = {
    "README.md": b"# Tiny",
    "mmproj-tiny-F16.gguf": b"GGUF eyes",
    "tiny-Q4_0.gguf": weights("q4_0", 1000),
    "tiny-Q4_K_M.gguf": weights("q4_k_m"),
    "tiny-Q8_0.gguf": weights("q8_0", 5000),
}


class Machine:
    """Runs code in processes that use one hub, one cache and one models folder."""

    def __init__(self, url, home, folder):
        self.home = home
        self._folder = folder
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
            "HF_ENDPOINT": url,
            "HF_HOME": str(home),
            "XDG_CONFIG_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }

    def start(self, code, **env):
        """Start `code` in a new process."""
        return subprocess.Popen(
            [sys.executable, "-c", CODE, str(self._folder), code],
            env={**self._env, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, code, **env):
        """Run `code`, and return what it prints."""
        process = self.start(code, **env)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        return out.strip()

    def resolve(self, reference, **env):
        """The file that a reference means."""
        return Path(self.run(f"print(models.resolve({reference!r}))", **env))

    def fails(self, code, **env):
        """Run `code`, which must fail, and return the one line that it says."""
        process = self.start(code, **env)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 1
        assert out == ""
        assert len(err.strip().splitlines()) == 1, err
        return err.strip()

    def fails_to_resolve(self, reference, **env):
        """The one line on why a reference means no file."""
        return self.fails(f"models.resolve({reference!r})", **env)

    def partials(self):
        """Files of interrupted downloads."""
        return list((self.home / "hub").rglob("*.incomplete"))

    def left_in_cache(self):
        """All files except locks and huggingface_hub's own cache tags."""
        files = [path for path in (self.home / "hub").rglob("*") if path.is_file()]
        return [path for path in files if path.suffix not in (".lock", ".TAG")]


def wait_for(true, seconds=30):
    """Whether `true()` becomes true in time."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
