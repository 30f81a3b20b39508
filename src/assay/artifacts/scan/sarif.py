"""The scan as SARIF 2.1.0, which code hosts and CI systems show beside the change. Source: OASIS SARIF v2.1.0."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from assay.artifacts.scan.scan import Scan
from assay.artifacts.scan.verdicts import rules_digest
from assay.findings import Finding, Severity

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS: Mapping[Severity, str] = {
    Severity.INFO: "note",
    Severity.WARNING: "warning",
    Severity.ERROR: "error",
    Severity.CRITICAL: "error",
}
RULES: Mapping[str, str] = {
    "scan.dangerous-global": "A pickle imports or calls what runs commands, reads files or loads code.",
    "scan.unknown-global": "A pickle imports what is not known to be harmless.",
    "scan.new-global": "A pickle imports what its signer did not record.",
    "scan.unresolvable-global": "A pickle puts the name of what it imports together while it is unpickled.",
    "scan.indirect-call": "A pickle calls what another call returned.",
    "scan.extension-code": "A pickle imports by a number of the copyreg extension registry.",
    "scan.patched-global": "A pickle sets attributes on something imported.",
    "scan.hidden-opcodes": "A pickle has opcodes that only some readers follow.",
    "scan.broken-pickle": "A pickle does not end as it must.",
    "scan.zip-confusion": "Readers of this archive do not agree about what is in it.",
    "scan.path-escape": "A container names a file outside the model's folder.",
    "scan.keras-lambda": "A Keras model holds code.",
    "scan.custom-operator": "A graph needs operators from outside.",
    "scan.dangerous-template": "A chat template reaches into Python.",
    "scan.template-loads": "A chat template loads another one.",
    "scan.remote-code": "A configuration names code that is run where trust_remote_code is set.",
    "scan.program": "A program or library lies beside the model.",
    "scan.source-code": "Source code lies beside the model.",
    "scan.incomplete": "A part could not be scanned.",
    "scan.second-opinion": "Another scanner says something else.",
}


def to_sarif(scan: Scan, *, version: str) -> dict[str, object]:
    """The scan as a SARIF log of one run.

    Args:
        scan: What was found.
        version: Version of assay.
    """
    ids = sorted({finding.rule for finding in scan.findings})
    rules = [
        {"id": one, "shortDescription": {"text": RULES.get(one, "What is wrong with a model's file.")}} for one in ids
    ]
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "assay scan",
                        "version": version,
                        "rules": rules,
                        "properties": {"rulesDigest": rules_digest()},
                    }
                },
                "results": [_result(finding, ids.index(finding.rule)) for finding in scan.findings],
            }
        ],
    }


def _result(finding: Finding, rule: int) -> dict[str, object]:
    location: dict[str, object] = {"artifactLocation": {"uri": quote(finding.subject.partition(":")[0])}}
    offset = finding.numbers.get("offset")
    if isinstance(offset, int) and ":" not in finding.subject:  # inside a member the offset is the member's
        location["region"] = {"byteOffset": offset, "byteLength": 1}
    return {
        "ruleId": finding.rule,
        "ruleIndex": rule,
        "level": _LEVELS[finding.severity],
        "message": {"text": finding.detail},
        "locations": [{"physicalLocation": location}],
    }
