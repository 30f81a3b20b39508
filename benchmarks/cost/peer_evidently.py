"""Evidently on the same tables, in an environment of its own: ``python peer_evidently.py REFERENCE CURRENT [ROWS]``.

The drift of every column and the classification figures of the whole current table; with ROWS, the milliseconds that
one report on so many further rows takes. The last line printed is JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
import warnings

os.environ["DO_NOT_TRACK"] = "1"
warnings.filterwarnings("ignore")

import pandas as pd  # noqa: E402 - telling it to keep quiet comes first
from evidently import DataDefinition, Dataset, MulticlassClassification, Report  # noqa: E402
from evidently.presets import ClassificationPreset, DataDriftPreset  # noqa: E402

BESIDE = ("ts", "id", "error")
REPEATS = 3


def read(path: str) -> pd.DataFrame:
    """A table without the columns that are no feature."""
    return pd.read_parquet(path).drop(columns=list(BESIDE))


def main() -> None:
    """One report on everything, or some on a few rows."""
    known, live = read(sys.argv[1]), read(sys.argv[2])
    texts = [column for column in known if not pd.api.types.is_numeric_dtype(known[column])]
    definition = DataDefinition(
        numerical_columns=[column for column in known if column not in texts],
        categorical_columns=texts,
        classification=[MulticlassClassification(target="label", prediction_labels="prediction")],
    )
    reference = Dataset.from_pandas(known, data_definition=definition)

    def report(frame: pd.DataFrame) -> int:
        current = Dataset.from_pandas(frame, data_definition=definition)
        return len(Report([DataDriftPreset(), ClassificationPreset()]).run(current, reference).dict()["metrics"])

    if len(sys.argv) > 3:
        rows, took = int(sys.argv[3]), []
        for place in range(REPEATS + 1):
            began = time.process_time()
            report(live.iloc[place * rows : (place + 1) * rows])
            took.append(1000 * (time.process_time() - began))
        print(json.dumps({"cpu_ms": statistics.median(took[1:])}))
    else:
        print(json.dumps({"metrics": report(live)}))


if __name__ == "__main__":
    main()
