"""Alibi Detect over the windows of tables that `peers.py` has written. Runs in an environment of its own.

    python peer_alibi.py FOLDER

Sub-folders and answer are as in `peer_evidently.py`. Of the detectors that need neither torch nor tensorflow: tests of
each column with Bonferroni's correction, window by window, and online tests with an expected run time, row by row.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402 - it warns at import
import pandas as pd  # noqa: E402
from alibi_detect.cd import CVMDriftOnline, FETDriftOnline, TabularDrift  # noqa: E402

EXPECTED_RUN = 1_000  # rows
WINDOWS = [100, 400]  # rows the online detectors look back
ONLINE_MOST = 5_000  # reference rows they are given: their simulation is quadratic in them


def offline(known: np.ndarray, windows: list[np.ndarray], columns: list[str], categories: dict[int, int]) -> list:
    """The columns below the corrected level, by window."""
    many = {place: list(range(width)) for place, width in categories.items()}
    detector = TabularDrift(known, p_val=0.05, categories_per_feature=many)
    out = []
    for rows in windows:
        found = detector.predict(rows, drift_type="batch", return_p_val=True)["data"]
        low = np.flatnonzero(found["p_val"] < found["threshold"])
        out.append([columns[i] for i in low])
    return out


def online(detector: FETDriftOnline | CVMDriftOnline, series: np.ndarray) -> list[int]:
    """Rows at which drift was told; the detector starts again each time."""
    places = []
    for place, value in enumerate(series):
        if detector.predict(value, return_test_stat=False)["data"]["is_drift"]:
            places.append(place)
            detector.reset_state()
    return places


def main() -> None:
    """Go over all deployments."""
    out = {}
    for folder in sorted(p for p in Path(sys.argv[1]).iterdir() if p.is_dir()):
        job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
        frame = pd.read_parquet(folder / "table.parquet")
        columns = job["numeric"] + job["categorical"]
        categories = {columns.index(c): int(frame[c].astype(int).max()) + 1 for c in job["categorical"]}
        values = frame[columns].to_numpy(dtype=np.float64)
        of = frame["window"].to_numpy()
        known = values[of < job["baseline"]]
        judged = job["judged"][: job["most"]["alibi"]]
        answer = {"any column": offline(known, [values[of == w] for w in judged], columns, categories)}
        for column in job["online"]:
            series = frame[column].to_numpy(dtype=np.float64)
            before, live = series[of < job["baseline"]][-ONLINE_MOST:], np.isin(of, judged)
            if column == "error":
                detector = FETDriftOnline(
                    before[:, None].astype(np.int64), EXPECTED_RUN, WINDOWS, alternative="greater", verbose=False
                )
                places = online(detector, series[live].astype(np.int64))
            else:
                detector = CVMDriftOnline(before[:, None], EXPECTED_RUN, WINDOWS, verbose=False)
                places = online(detector, series[live])
            hit = {int(of[live][p]) for p in places}
            answer[f"online, {column}"] = [[column] if w in hit else [] for w in judged]
        out[folder.name] = answer
    print(json.dumps(out))


if __name__ == "__main__":
    main()
