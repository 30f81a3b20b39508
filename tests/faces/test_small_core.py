"""`pip install assay` alone, without an extra, is enough for keys, sign, verify, exec, scan, load and log.

The wheel is built and unpacked, and run where only it, the standard library and the direct and
indirect dependencies of the core can be imported: whatever else lies in this environment is not
there for it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

ROOT = Path(__file__).parent.parent.parent
MARKER = re.compile(r"extra\s*==")
ABSENT = ("numpy", "scipy", "pyarrow", "duckdb", "fastapi", "sklearn", "torch", "pandas", "skops", "picklescan", "h5py")

ONLY = """
import sys
ALLOWED = set({allowed!r}) | set(sys.stdlib_module_names) | {{"assay"}}
class Only:
    @staticmethod
    def find_spec(name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in ALLOWED and not top.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(f"No module named {{top!r}} in the core", name=top)
sys.meta_path.insert(0, Only)
"""


def normal(name: str) -> str:
    """One spelling for each name of a distribution."""
    return re.sub(r"[-_.]+", "-", name).lower()


def core() -> set[str]:
    """Distributions that the core needs, directly and indirectly."""
    wanted, found = ["assay"], set[str]()
    while wanted:
        name = wanted.pop()
        for line in metadata.requires(name) or ():
            needed = re.match(r"[A-Za-z0-9._-]+", line)
            if needed is None or MARKER.search(line):
                continue
            try:
                metadata.distribution(needed[0])
            except metadata.PackageNotFoundError:  # for another system or Python
                continue
            if normal(needed[0]) not in found:
                found.add(normal(needed[0]))
                wanted.append(needed[0])
    return found


def modules_of(distributions: set[str]) -> set[str]:
    """What can be imported of them."""
    by_module = metadata.packages_distributions()
    return {module for module, names in by_module.items() if {normal(name) for name in names} & distributions}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's contents in a folder, with a program that starts it alone."""
    folder = tmp_path_factory.mktemp("core")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    allowed = sorted(modules_of(core()))
    (folder / "run.py").write_text(
        f"{ONLY.format(allowed=allowed)}\nsys.path.insert(0, {str(folder / 'site')!r})\n"
        "if sys.argv[1] == 'python':\n    exec(sys.argv[2])\nelse:\n"
        "    from assay.cli.main import run\n    sys.exit(run(sys.argv[1:]))\n"
    )
    return folder


class Core:
    """A shell in which only the core is installed."""

    def __init__(self, installed: Path, place: Path) -> None:
        self._program, self.place = installed / "run.py", place

    def __call__(self, *words: object, code: int = 0) -> str:
        line = [sys.executable, str(self._program), *map(str, words)]
        environment = {"HOME": str(self.place), "PATH": "/usr/bin:/bin", "XDG_STATE_HOME": str(self.place / "state")}
        done = subprocess.run(
            line, cwd=self.place, capture_output=True, text=True, timeout=60, check=False, env=environment
        )
        assert done.returncode == code, f"{words}: {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def shell(installed: Path, tmp_path: Path) -> Core:
    (tmp_path / "model").mkdir()
    save_file({"w": np.arange(12, dtype="f4").reshape(3, 4)}, tmp_path / "model" / "w.safetensors")
    (tmp_path / "model" / "labels.txt").write_text("ham\nspam\n")
    return Core(installed, tmp_path)


def test_the_shell_has_nothing_but_the_core(shell: Core) -> None:
    here = shell("python", "import assay; print(assay.__file__)")
    assert "/site/assay/" in here
    for name in ABSENT:
        assert "in the core" in shell("python", f"try: import {name}\nexcept ImportError as err: print(err)")


def test_the_core_has_at_most_ten_direct_dependencies() -> None:
    direct = [line for line in metadata.requires("assay") or () if not MARKER.search(line)]
    assert 0 < len(direct) <= 10


def test_keys_sign_verify_exec_and_scan_need_no_extra(shell: Core) -> None:
    shell("keys", "new", "key.pem", "--plain")
    assert "1 tensors" in shell("sign", "model", "--key", "key.pem")
    assert "all as signed" in shell("verify", "model", "--public-key", "key.pub")
    assert "SHA-256 and BLAKE3" in shell("verify", "model", "--public-key", "key.pub", "--thorough")
    assert "ham\nspam\n" in shell("exec", "model", "--public-key", "key.pub", "--", "cat", "{model}/labels.txt")
    shell("scan", "model")
    raw = (shell.place / "model" / "w.safetensors").read_bytes()
    (shell.place / "model" / "w.safetensors").write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    found = json.loads(shell("verify", "model", "--public-key", "key.pub", "--json", code=1).partition("\nassay:")[0])
    assert "w.safetensors:w" in {finding["subject"] for finding in found["findings"]}
    assert "w.safetensors" in shell("exec", "model", "--public-key", "key.pub", "--", "true", "{model}", code=1)


def test_verified_bytes_are_loaded_by_a_function_of_the_users_own(shell: Core) -> None:
    shell("keys", "new", "key.pem", "--plain")
    shell("sign", "model", "--key", "key.pem")
    code = (
        "from datetime import UTC, datetime\nfrom pathlib import Path\n"
        "from assay import SignedByKey, read_public, verify\n"
        "rule = SignedByKey(read_public(Path('key.pub')))\n"
        "with verify(Path('model'), signers=rule, now=datetime.now(UTC), hold=True) as model:\n"
        "    Path('model/labels.txt').write_text('evil')\n"
        "    print(bytes(model.files().view('labels.txt')), len(model.load('safetensors')))\n"
    )
    assert "b'ham\\nspam\\n' 1" in shell("python", code)


def test_a_project_signs_verifies_and_logs_without_an_extra(shell: Core) -> None:
    (shell.place / "models").mkdir()
    (shell.place / "model").rename(shell.place / "models" / "spam")
    shell("init", "--model", "models/spam", "--identity", "release@acme.example", "--plain")
    (key,) = (shell.place / ".assay" / "keys").glob("*.pem")
    assert "version" in shell("sign", "spam", "--key", key)
    assert "all as signed" in shell("verify", "spam")
    assert "model.signed" in shell("log", "show")
    shell("log", "verify")
    with (shell.place / "assay.toml").open("a", encoding="utf-8") as config:
        config.write('\n[models.spam.predictions]\npath = "log.csv"\ntime = "ts"\nprediction = "pred"\n')
    for verb in ("monitor", "baseline"):
        assert "pip install 'assay[monitor]'" in shell(verb, "spam", code=2)


def test_what_needs_an_extra_names_it(shell: Core) -> None:
    shell("keys", "new", "key.pem", "--plain")
    shell("sign", "model", "--key", "key.pem")
    code = (
        "from datetime import UTC, datetime\nfrom pathlib import Path\n"
        "from assay import AssayError, SignedByKey, read_public, verify\n"
        "(Path('model') / 'm.pt').touch()\n"
        "rule = SignedByKey(read_public(Path('key.pub')))\n"
        "model = verify(Path('model'), signers=rule, now=datetime.now(UTC), ignore=['m.pt'])\n"
        "try: model.load('safetensors').torch('w')\nexcept AssayError as err: print(err)\n"
    )
    assert "pip install 'assay[torch]'" in shell("python", code)
