"""RESULTS.md and the calibration plot."""

from __future__ import annotations

from datasets import LOADERS
from scoring import MASKS, VERDICTS, WEAK
from worlds import FAMILIES, SCENARIOS

COLUMNS = {
    "right": "right",
    "wrong": "wrong name",
    "unknown": "unknown",
    "attacks_found": "attacks found",
    "attacks_false": "falsely called attack",
    "local_drift_called_attack": "local drift called attack",
    "attacks_escalated": "security called: attacks",
    "others_escalated": "security called: others",
    "data_faults_found": "data faults found",
    "ece": "calibration error",
}
GOALS = (
    ("attacks found, all evidence", "all", "attacks_found", ">=", 0.98),
    ("falsely called attack, all evidence", "all", "attacks_false", "<=", 0.01),
    ("attacks found, no known-good copy", "no known-good copy", "attacks_found", ">=", 0.95),
    ("falsely called attack, no known-good copy", "no known-good copy", "attacks_false", "<=", 0.02),
    ("local drift called attack, all evidence", "all", "local_drift_called_attack", "<=", 0.02),
    ("local drift called attack, no known-good copy", "no known-good copy", "local_drift_called_attack", "<=", 0.02),
    ("cause right, all evidence, all scenarios", "all", "right", ">=", 0.85),
    ("calibration error, all evidence", "all", "ece", "<=", 0.05),
    (
        "`unknown` where copy and labels are withheld and no input moved",
        "no labels, no copy",
        "hidden_unknown",
        ">=",
        0.9,
    ),
    ("called attack where copy and labels are withheld", "no labels, no copy", "called_tampering", "<=", 0.02),
    ("a cause named, all evidence", "all", "named", ">=", 0.8),
)
# Never fitted on. What the missed attacks of the first lacked was looked into; nobody saw the second before the
# evidence, the rules and the weights were what they are.
FURTHER = {
    "seen": (
        "Cases never fitted on, but looked at",
        (
            "(other rows, models and sizes), by the weights that had not seen their data set. Why attacks among them "
            "were missed was looked into once, so they are no longer impartial"
        ),
    ),
    "fresh": (
        "Cases nobody had seen",
        (
            "(other rows, models and sizes), made after the evidence and the rules were shaped, by the weights that "
            "had not seen their data set"
        ),
    ),
}


def row(*cells: object) -> str:
    """A line of a table."""
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def header(*cells: str) -> list[str]:
    """The head of a table."""
    return [row(*cells), "| --- " * len(cells) + "|"]


def report(results: dict[str, dict], extra: dict[str, dict], made: dict[str, object]) -> str:
    """RESULTS.md."""
    lines = [
        "# How often the verdict is right",
        "",
        (
            f"{made['cases']} cases: {len(SCENARIOS)} scenarios on {len(LOADERS)} public data sets "
            f"({', '.join(LOADERS)}), models: {', '.join(FAMILIES)}, which take turns. "
            "Every figure is for data sets the weights were **not** fitted on: each data set is judged by weights "
            "fitted on the others, their certainty included."
        ),
        "",
        "Tampering with 1, 2 or 5 % of the answers has rows of its own; it counts in `right`, not in `attacks found`.",
        "",
        *header("evidence", *COLUMNS.values()),
    ]
    lines += [row(mask, *(f"{results[mask]['figures'][key]:.1%}" for key in COLUMNS)) for mask in MASKS]
    for which, (title, told) in FURTHER.items():
        if which in extra:
            lines += ["", f"## {title}", "", f"{extra[which]['all']['cases']} further cases {told}:", ""]
            lines += header("evidence", *COLUMNS.values())
            lines += [row(mask, *(f"{extra[which][mask][key]:.1%}" for key in COLUMNS)) for mask in MASKS]
    lines += ["", "## Against the goals", "", *header("what", "found", "goal", "met")]
    for what, mask, key, way, goal in GOALS:
        found = results[mask]["figures"] | {"named": 1 - results[mask]["figures"]["unknown"]}
        met = found[key] >= goal if way == ">=" else found[key] <= goal
        lines.append(row(what, f"{found[key]:.1%}", f"{way} {goal:.0%}", "yes" if met else "**no**"))
    lines += ["", "## Weak tampering", "", *header("tampering with", *(f"found: {mask}" for mask in MASKS))]
    lines += [row(label, *(f"{results[m]['figures'][f'found: {label}']:.0%}" for m in MASKS)) for label in WEAK]
    lines += ["", "## Beside the rules people go by", ""]
    lines += [
        "Each says intact, attack or neither; ours is read as coarsely here, on the same cases.",
        "",
        *header("rule", "right", "attacks found", "falsely called attack"),
    ]
    lines += [row(name, *(f"{value:.0%}" for value in rule.values())) for name, rule in extra["rules"].items()]
    for which, groups in (("data set", LOADERS), ("family", FAMILIES)):
        lines += ["", f"## By {which}, all evidence and without the copy", ""]
        lines += header(
            which, "right", "attacks found", "falsely", *(f"no copy: {w}" for w in ("right", "found", "falsely"))
        )
        for name in groups:
            cells = [extra[which][mask][name] for mask in ("all", "no known-good copy")]
            keys = ("right", "attacks_found", "attacks_false")
            lines.append(row(name, *(f"{cell[key]:.0%}" for cell in cells for key in keys)))
    for mask in ("all", "no known-good copy"):
        lines += [
            "",
            f"## Verdicts by scenario: {mask}",
            "",
            *header("scenario", "counts as right", *VERDICTS, "unknown"),
        ]
        for name, said in results[mask]["matrix"].items():
            lines.append(row(name, ", ".join(SCENARIOS[name][1]), *(said.get(v, "") for v in (*VERDICTS, "unknown"))))
    lines += ["", "## What each piece of evidence is worth alone", "", *header("evidence", "names the cause right")]
    lines += [row(name, f"{value:.0%}") for name, value in sorted(extra["alone"].items(), key=lambda item: -item[1])]
    seconds = made["seconds"]
    lines += [
        "",
        "## Time",
        "",
        (
            f"Processor time of one diagnosis (up to 2,600 rows): median {seconds['median']:.1f} s, "
            f"95 % under {seconds['most_of_them']:.1f} s, longest {seconds['longest']:.1f} s."
        ),
        "",
        "## Calibration",
        "",
        (
            "Probability of the likeliest cause against how often it was right, all evidence (blue) and "
            "no known-good copy (orange); the area of a dot is its number of cases."
        ),
        "",
        "![calibration](calibration.svg)",
    ]
    return "\n".join(lines) + "\n"


def plot(results: dict[str, dict]) -> str:
    """The calibration plot."""
    size, edge = 320, 40
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size + 2 * edge} {size + 2 * edge}" '
            'font-family="sans-serif" font-size="12">'
        ),
        '<rect width="100%" height="100%" fill="white"/>',
        f'<path d="M{edge} {edge}V{edge + size}H{edge + size}" fill="none" stroke="#444"/>',
        f'<path d="M{edge} {edge + size}L{edge + size} {edge}" stroke="#999" stroke-dasharray="4"/>',
        f'<text x="{edge + size / 2}" y="{size + 2 * edge - 8}" text-anchor="middle">probability</text>',
        (
            f'<text x="14" y="{edge + size / 2}" text-anchor="middle" '
            f'transform="rotate(-90 14 {edge + size / 2})">share right</text>'
        ),
    ]
    for value in (0.0, 0.5, 1.0):
        parts.append(f'<text x="{edge + value * size}" y="{edge + size + 16}" text-anchor="middle">{value:g}</text>')
        parts.append(f'<text x="{edge - 6}" y="{edge + (1 - value) * size + 4}" text-anchor="end">{value:g}</text>')
    for mask, colour in (("all", "#1f77b4"), ("no known-good copy", "#ff7f0e")):
        cells = [cell for cell in results[mask]["bins"] if cell[0]]
        most = max(n for n, _, _ in cells)
        for n, mean, right in cells:
            x, y, radius = edge + mean * size, edge + (1 - right) * size, 2 + 10 * (n / most) ** 0.5
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{colour}" fill-opacity="0.6"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"
