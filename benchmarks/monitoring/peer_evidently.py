"""Evidently's drift preset over the windows of tables that `peers.py` has written. Runs in an environment of its own.

    python peer_evidently.py FOLDER

Every sub-folder of FOLDER is a deployment: ``table.parquet`` with a column ``window``, and ``job.json`` that says which
windows are the reference and which are judged. The answer is printed as JSON: by deployment and rule, for each judged
window the columns that drifted; ``dataset`` stands for the preset's decision on the whole table.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path

os.environ["DO_NOT_TRACK"] = "1"
warnings.filterwarnings("ignore")

import pandas as pd  # noqa: E402 - telling it to keep quiet comes first
from evidently import DataDefinition, Dataset, Report  # noqa: E402
from evidently.presets import DataDriftPreset  # noqa: E402


def drifted(reference: Dataset, frame: pd.DataFrame, definition: DataDefinition) -> list[str]:
    """The columns that drifted in one window, ``dataset`` among them when the preset says so of all."""
    current = Dataset.from_pandas(frame, data_definition=definition)
    result = Report([DataDriftPreset()], include_tests=True).run(current, reference)
    out = []
    for test in result.dict()["tests"]:
        if test["status"] == "FAIL":
            params = test["metric_config"]["params"]
            out.append(params.get("column", "dataset"))
    return out


def main() -> None:
    """Go over all deployments."""
    out = {}
    for folder in sorted(p for p in Path(sys.argv[1]).iterdir() if p.is_dir()):
        job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
        frame = pd.read_parquet(folder / "table.parquet")
        numeric, categorical = job["numeric"], job["categorical"]
        definition = DataDefinition(numerical_columns=numeric, categorical_columns=categorical)
        frame = frame.astype(dict.fromkeys(categorical, str))
        known = frame[frame["window"] < job["baseline"]][numeric + categorical]
        reference = Dataset.from_pandas(known, data_definition=definition)
        found = []
        for window in job["judged"][: job["most"]["evidently"]]:
            rows = frame[frame["window"] == window][numeric + categorical]
            found.append(drifted(reference, rows, definition))
        whole = [[c for c in one if c == "dataset"] for one in found]
        columns = [[c for c in one if c != "dataset"] for one in found]
        out[folder.name] = {"any column": columns, "dataset": whole}
    print(json.dumps(out))


if __name__ == "__main__":
    main()
