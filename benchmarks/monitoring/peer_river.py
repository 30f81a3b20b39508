"""River's drift detectors over series that `peers.py` has written. Runs in an environment of its own.

    python peer_river.py FOLDER

Every sub-folder of FOLDER is a stream: one ``NAME.npy`` a series, and ``job.json`` that says which detectors go over
which series. The answer is printed as JSON: by stream, detector and series the places at which drift was told.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from river import drift
from river.drift import binary

MOST = 10_000  # places kept of one series
SLOWEST = ("KSWIN",)  # milliseconds a value: these go over a part of a series, given by its first and last place
DETECTORS: dict[str, Callable[[], object]] = {
    "ADWIN": drift.ADWIN,
    "DDM": binary.DDM,
    "EDDM": binary.EDDM,
    "HDDM_A": binary.HDDMA,
    "HDDM_W": binary.HDDMW,
    "PageHinkley": drift.PageHinkley,
    "KSWIN": lambda: drift.KSWIN(seed=0),
}


def told(name: str, series: np.ndarray) -> list[int]:
    """Where a detector tells drift. It starts again by itself."""
    detector = DETECTORS[name]()
    update, places = detector.update, []
    for place, value in enumerate(series.tolist()):
        update(value)
        if detector.drift_detected:
            places.append(place)
    return places[:MOST]


def main() -> None:
    """Go over all streams."""
    out = {}
    for folder in sorted(p for p in Path(sys.argv[1]).iterdir() if p.is_dir()):
        job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
        found: dict[str, dict[str, list[int]]] = {}
        for name, series in job["river"].items():
            for one in series:
                values = np.load(folder / f"{one}.npy")
                begin, end = job["part"] if name in SLOWEST else (0, len(values))
                found.setdefault(name, {})[one] = [begin + place for place in told(name, values[begin:end])]
        out[folder.name] = found
    print(json.dumps(out))


if __name__ == "__main__":
    main()
