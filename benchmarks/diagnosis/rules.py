"""The rules people go by, judged on the same cases: each says intact, attack or no attack, nothing finer."""

from __future__ import annotations

from collections.abc import Callable

from scoring import ATTACKS, Answer, rights, share, truth

Numbers = dict[str, dict[str, float]]
FALL = 0.02  # a fall under two points of accuracy is none, for the rules as for us


def _numbers(record: dict) -> Numbers:
    return {e["name"]: e["numbers"] for e in record["evidence"]}


RULES: dict[str, Callable[[Numbers], bool]] = {
    "some classes fall more than others: attack": lambda n: n["uniformity"].get("classes", 0.0) > 3,
    "retraining does not restore: attack": lambda n: (
        n["retraining"].get("restores", 0.0) < 0.5 * n["concept"].get("fall", 0.0)
    ),
    "it fell at once: attack": lambda n: n["onset"].get("abrupt", 0.0) > 0,
    "it fell and no input moved: attack": lambda n: n["inputs"].get("largest_move", 0.0) < 0.1,
    "errors go to one class: attack": lambda n: n["uniformity"].get("same_wrong_class", 0.0) > 0.6,
}


def coarse(verdict: str) -> str:
    """Attack, intact, or something that is neither."""
    return "attack" if verdict in ATTACKS else "intact" if verdict in ("intact", "unknown") else "other"


def judged(records: list[dict], ours: list[Answer]) -> dict[str, dict[str, float]]:
    """Right, attacks found and others falsely called attack: of each rule, and of our verdicts read as coarsely.

    ``unknown`` reads as intact: it raises no alarm.
    """
    said = {name: [_by_rule(rule, record) for record in records] for name, rule in RULES.items()}
    said["assay, all evidence"] = [coarse(answer.verdict) for answer in ours]
    out = {}
    for name, words in said.items():
        pairs = list(zip(records, words, strict=True))
        out[name] = {
            "right": share([word in {coarse(v) for v in rights(record)} for record, word in pairs]),
            "attacks_found": share([word == "attack" for record, word in pairs if truth(record) in ATTACKS]),
            "attacks_false": share([word == "attack" for record, word in pairs if truth(record) not in ATTACKS]),
        }
    return out


def _by_rule(rule: Callable[[Numbers], bool], record: dict) -> str:
    numbers = _numbers(record)
    if numbers["concept"].get("fall", 0.0) < FALL:
        return "intact"
    return "attack" if rule(numbers) else "other"
