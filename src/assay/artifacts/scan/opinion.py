"""What picklescan says of the same files: a second opinion, never asked for a verdict."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from assay.artifacts.names import shown
from assay.artifacts.scan.scan import Scan
from assay.errors import MissingExtraError
from assay.findings import Finding, Severity
from assay.formats.base import Content

MAX_BYTES = 256 * 1024 * 1024  # it wants the whole file in memory


@dataclass(frozen=True, slots=True)
class Opinion:
    """What it says of one file.

    Attributes:
        file: The file's name in the model.
        dangerous: Globals it calls dangerous, ``module.name``.
        failed: Why it could not tell; empty when it could.
    """

    file: str
    dangerous: tuple[str, ...]
    failed: str = ""


def ask(name: str, content: Content) -> Opinion:
    """Have picklescan look at one file's bytes; it does not unpickle either.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        from picklescan.scanner import SafetyLevel, scan_bytes
    except ImportError as err:
        raise MissingExtraError("a second opinion", "scan") from err
    if content.size > MAX_BYTES:
        return Opinion(name, (), f"more than {MAX_BYTES} bytes")
    base = name.rpartition("/")[2]
    ending = base[base.rfind(".") :] if "." in base else None
    logging.getLogger("picklescan").setLevel(logging.CRITICAL)
    try:
        result = scan_bytes(io.BytesIO(content.read(0, content.size)), name, ending)
    except Exception as err:  # noqa: BLE001 - a scanner of others' that fails has no opinion, and says so
        return Opinion(name, (), type(err).__name__)
    found = {f"{one.module}.{one.name}" for one in result.globals if one.safety == SafetyLevel.Dangerous}
    return Opinion(name, tuple(sorted(found)), "it reports an error" if result.scan_err else "")


def disagreements(scan: Scan, opinions: Iterable[Opinion]) -> tuple[Finding, ...]:
    """Where the two do not agree: for a person to look at, whoever is right."""
    ours = {
        one.subject.partition(":")[0]
        for one in scan.findings
        if one.rule.startswith("scan.") and one.severity is Severity.CRITICAL
    }
    found: list[Finding] = []
    for opinion in opinions:
        subject = shown(opinion.file)
        if opinion.dangerous and subject not in ours:
            detail = f"{subject}: picklescan calls {', '.join(opinion.dangerous[:5])} dangerous, this scan does not"
            found.append(Finding("scan.second-opinion", subject, Severity.WARNING, detail))
        elif subject in ours and not opinion.dangerous:
            why = f" ({opinion.failed})" if opinion.failed else ""
            detail = f"{subject}: picklescan sees nothing dangerous here{why}, this scan does"
            found.append(Finding("scan.second-opinion", subject, Severity.INFO, detail))
    return tuple(found)
