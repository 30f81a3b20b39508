"""NannyML over the windows of tables that `peers.py` has written. Runs in an environment of its own.

    python peer_nannyml.py FOLDER

Sub-folders and answer are as in `peer_evidently.py`. Each window is a chunk; thresholds are learned from the chunks of
the reference, as by default (mean and three standard deviations).
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
warnings.filterwarnings("ignore")

import nannyml as nml  # noqa: E402 - telling it to keep quiet comes first
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

CLASSES = 10


def chunks(frame: pd.DataFrame) -> nml.chunk.Chunker:
    """One chunk a day: every window was given a day of its own."""
    del frame
    return nml.chunk.PeriodBasedChunker(timestamp_column_name="day", offset="D")


def univariate(known: pd.DataFrame, live: pd.DataFrame, columns: list[str], categorical: list[str]) -> list[list[str]]:
    """The columns whose distance from the reference left its thresholds, by window."""
    calculator = nml.UnivariateDriftCalculator(
        column_names=columns,
        treat_as_categorical=categorical,
        timestamp_column_name="day",
        continuous_methods=["jensen_shannon"],
        categorical_methods=["jensen_shannon"],
        chunker=chunks(known),
    )
    result = calculator.fit(known).calculate(live).filter(period="analysis").to_df()
    out: list[list[str]] = [[] for _ in range(len(result))]
    for column in columns:
        alerts = result[(column, "jensen_shannon", "alert")].to_numpy(dtype=bool)
        for place in np.flatnonzero(alerts):
            out[place].append(column)
    return out


def estimated(known: pd.DataFrame, live: pd.DataFrame) -> list[list[str]]:
    """Windows whose accuracy, estimated from confidences, left its thresholds."""
    estimator = nml.CBPE(
        problem_type="classification_multiclass",
        y_true="label",
        y_pred="prediction",
        y_pred_proba={str(c): f"p{c}" for c in range(CLASSES)},
        timestamp_column_name="day",
        metrics=["accuracy"],
        chunker=chunks(known),
    )
    result = estimator.fit(known).estimate(live).filter(period="analysis").to_df()
    return [["accuracy"] if alert else [] for alert in result[("accuracy", "alert")].to_numpy(dtype=bool)]


def realised(known: pd.DataFrame, live: pd.DataFrame) -> list[list[str]]:
    """Windows whose accuracy left its thresholds."""
    calculator = nml.PerformanceCalculator(
        problem_type="classification_multiclass",
        y_true="label",
        y_pred="prediction",
        y_pred_proba={str(c): f"p{c}" for c in range(CLASSES)},
        timestamp_column_name="day",
        metrics=["accuracy"],
        chunker=chunks(known),
    )
    result = calculator.fit(known).calculate(live).filter(period="analysis").to_df()
    return [["accuracy"] if alert else [] for alert in result[("accuracy", "alert")].to_numpy(dtype=bool)]


def main() -> None:
    """Go over all deployments."""
    out = {}
    for folder in sorted(p for p in Path(sys.argv[1]).iterdir() if p.is_dir()):
        job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
        frame = pd.read_parquet(folder / "table.parquet")
        frame["day"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(frame["window"], unit="D")
        for c in range(CLASSES):  # the confidence of the class named; the others share the rest
            named = frame["prediction"].astype(int) == c
            frame[f"p{c}"] = np.where(named, frame["confidence"], (1 - frame["confidence"]) / (CLASSES - 1))
        frame = frame.astype(dict.fromkeys([*job["categorical"], "label"], str))
        known = frame[frame["window"] < job["baseline"]].reset_index(drop=True)
        judged = job["judged"][: job["most"]["nannyml"]]
        live = frame[frame["window"].isin(judged)].reset_index(drop=True)
        columns = job["numeric"] + job["categorical"]
        out[folder.name] = {
            "any column": univariate(known, live, columns, job["categorical"]),
            "accuracy": realised(known, live),
            "accuracy, estimated": estimated(known, live),
        }
    print(json.dumps(out))


if __name__ == "__main__":
    main()
