"""False alarms and delays of the monitor on simulated deployments with all signals on.

Run from the root of the repository: ``python benchmarks/monitoring/run.py [--quick]``. False alarms are counted on
unchanged streams against the budget; delays in windows of 1,000 rows, from the change to the alarm, both counted.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.unit.monitoring.drifting import Change, DriftingStream

from assay.monitoring.monitor import evaluate

AT = 20
STREAMS: dict[str, dict[str, float]] = {
    "independent rows": {},
    "day effects": {"feature_day_sd": 0.1, "rate_day_sd": 0.2},
    "days that persist (.7)": {"feature_day_sd": 0.1, "rate_day_sd": 0.2, "rho": 0.7},
    "weekdays, persisting (.5)": {"feature_day_sd": 0.1, "rate_day_sd": 0.2, "rho": 0.5, "weekday_sd": 2.0},
}
CHANGES = {
    "error .05 to .08": Change(AT, error_to=0.08),
    "one class of ten 80 to 50 %": Change(AT, class_error_to=0.5),
    "confidence by -.02": Change(AT, confidence=-0.02),
    "one column of 20 by .2 sd": Change(AT, feature_sd=0.2),
    "one column of 20 by .1 sd": Change(AT, feature_sd=0.1),
    "classes scattered by .08": Change(AT, scattered=0.08),
}


def false_alarms(stream: DriftingStream, baseline: int, live: int, budget: float, runs: int) -> float:
    """Alarms per budget on unchanged streams."""
    total = 0
    for seed in range(1000, 1000 + runs):
        reference, windows = replace(stream, seed=seed).windows(baseline, live)
        total += len(evaluate(reference, windows, windows_per_alarm=budget).alarms)
    return total * budget / (live * runs)


def delays(change: Change, baseline: int, runs: int) -> tuple[float, int, int]:
    """Median delay in windows (of those found), how many were found, how many alarms named another signal."""
    found, wrong = [], 0
    signal = "error" if change.error_to else "accuracy:class=0" if change.class_error_to else ""
    signal = signal or ("confidence" if change.confidence else "feature:f0" if change.feature_sd else "prediction")
    for seed in range(runs):
        reference, windows = DriftingStream(seed=seed, change=change).windows(baseline, 60)
        starts = [w.start for w in windows]
        alarms = evaluate(reference, windows, windows_per_alarm=1000.0).alarms
        wrong += sum(a.signal != signal for a in alarms)
        found += [starts.index(a.window) - AT + 1 for a in alarms if a.signal == signal][:1]
    return (median(found) if found else float("inf")), len(found), wrong


def main() -> None:
    """Print both tables."""
    runs, live = (1, 365) if "--quick" in sys.argv else (3, 730)
    print(f"false alarms per budget of 365 windows ({runs} deployments x {live} days)")
    for name, how in STREAMS.items():
        stream = DriftingStream(seed=0, **how)  # type: ignore[arg-type]  # all of them floats
        row = [f"K={k}: {false_alarms(stream, k, live, 365.0, runs):.2f}" for k in (7, 28, 60)]
        print(f"  {name:28s}", "  ".join(row), flush=True)
    print("delays in windows, baseline of 20 windows, one false alarm in 1,000 windows")
    for name, change in CHANGES.items():
        middle, found, wrong = delays(change, 20, 2 if "--quick" in sys.argv else 8)
        print(f"  {name:28s} median {middle:g}, found {found}, other signals named {wrong}", flush=True)


if __name__ == "__main__":
    main()
