from __future__ import annotations

import platform
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from assay.lineage.fingerprint import DatasetFingerprint, fingerprint
from assay.lineage.provenance import environment, lineage_statement
from assay.signing.statement import LINEAGE, Statement

ROOT = "ab" * 32


def test_the_environment_names_this_python_and_its_packages() -> None:
    found = environment()
    assert found.python == platform.python_version()
    assert found.packages["pyarrow"] == metadata.version("pyarrow")
    assert list(found.packages) == sorted(found.packages)


def test_a_statement_binds_model_data_and_environment(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x,y\n1,0\n2,1\n")
    mark = fingerprint(tmp_path / "t.csv", label="y")
    statement = Statement.parse(
        lineage_statement(mark, ROOT, environment(), created=datetime(2026, 1, 2, tzinfo=UTC)).payload()
    )
    assert statement.predicate_type == LINEAGE
    assert statement.subjects[0].digest == {"sha256": ROOT}
    dataset = statement.predicate["dataset"]
    assert isinstance(dataset, dict)
    assert DatasetFingerprint.parse(dataset) == replace(mark, row_digests=None, feature_digests=None)
    assert statement.predicate["environment"] == environment().to_json()
