"""What `import assay` offers, what it costs, and that the typed program runs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.small_project import TODAY, Small, build
from tests.typing import api

import assay
from assay.keys.pem import generate

HEAVY = ("sqlalchemy", "numpy", "pyarrow", "duckdb", "sklearn", "scipy", "pandas", "alembic")
PUBLIC = {
    "AllOf", "AnyOf", "AssayError", "AuditLog", "Baseline", "DatasetFingerprint", "Finding", "Guard", "Manifest",
    "PredictionSchema", "Project", "Recorder", "Severity", "SignedBy", "SignedByKey", "Suite", "TrustStore",
    "UnsafeTrustAnyone", "VerificationError", "VerifiedModel", "fingerprint", "load_private", "read_public",
    "sign", "verify",
}  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    made = build(tmp_path_factory.mktemp("face"))
    made.sign()
    return made


def imported_by(code: str, *arguments: str) -> set[str]:
    """Names of all modules that a fresh interpreter has after running the code."""
    program = f"import sys\n{code}\nimport json; print('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_public_names_are_these_and_no_others() -> None:
    assert set(assay.__all__) == PUBLIC
    assert len(assay.__all__) == len(PUBLIC)
    assert set(dir(assay)) >= PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_each_name_is_the_one_its_own_module_defines(name: str) -> None:
    found = getattr(assay, name)
    assert found.__name__ == name
    assert getattr(sys.modules[found.__module__], name) is found


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'assay' has no attribute 'verifiy'"):
        getattr(assay, "verifiy")  # noqa: B009 - a type checker would find it, and that is the point of __all__


def test_import_assay_imports_next_to_nothing() -> None:
    found = imported_by("import assay")
    assert {name for name in found if name.startswith("assay")} == {"assay"}
    assert not found & {*HEAVY, "click", "cryptography", "rich"}


def test_import_assay_is_quick() -> None:
    code = "import time; begun = time.process_time(); import assay; print(time.process_time() - begun)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.15  # seconds of the processor: what else the machine does is not ours


def test_a_verification_that_succeeds_imports_neither_database_nor_arrays(small: Small) -> None:
    code = "from assay.cli.main import run\nassert run(sys.argv[1:]) == 0"
    arguments = ("verify", str(small.model), "--public-key", str(small.folder / "keys" / "release.pub"))
    found = imported_by(code, *arguments)
    assert not {name for name in found if name.split(".")[0] in HEAVY}


def test_the_api_of_verification_imports_neither_database_nor_arrays(small: Small) -> None:
    code = (
        "from datetime import UTC, datetime\nfrom pathlib import Path\n"
        "from assay import SignedByKey, read_public, verify\n"
        "verify(Path(sys.argv[1]), signers=SignedByKey(read_public(Path(sys.argv[2]))), now=datetime.now(UTC)).close()"
    )
    found = imported_by(code, str(small.model), str(small.folder / "keys" / "release.pub"))
    assert not {name for name in found if name.split(".")[0] in HEAVY}


def test_help_imports_no_verb() -> None:
    found = imported_by("from assay.cli.main import run\nrun(['--help'])")
    assert not found & {*HEAVY, "assay.project.project", "assay.cli.sign"}


def test_the_typed_program_runs(small: Small, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    generate(key, passphrase=None)
    model = tmp_path / "model"
    shutil.copytree(small.model, model, ignore=shutil.ignore_patterns("model.sig"))
    manifest = api.sign_and_open(model, key, TODAY)
    assert {file.name for file in manifest.files} == {"model.skops", "labels.txt"}
    assert api.reasons(model, key.with_suffix(".pub"), TODAY) == []
    (model / "labels.txt").write_text("")
    assert "labels.txt" in " ".join(api.reasons(model, key.with_suffix(".pub"), TODAY))
    table = str(small.folder / "data" / "training.csv")
    assert api.same_data(table, table)
    assert api.log_something(tmp_path / "log", TODAY) == 1
    assert api.record(tmp_path / "rows", manifest.root)
    assert api.suite_of(table).name == "spam"
    assert api.live_root(small.folder / "assay.toml", "spam", TODAY) == str(small.model)
    assert "no model 'ham'" in str(api.live_root(small.folder / "assay.toml", "ham", TODAY))
    assert len(api.EVERYTHING) == 8
