"""Jinja chat templates: texts that a serving program runs. A template needs no attribute that leads into Python."""

from __future__ import annotations

import re
from collections.abc import Iterator

from assay.artifacts.scan.trouble import Trouble
from assay.findings import Severity

MAX_TEMPLATE = 1024 * 1024

_OPEN = re.compile(r"\{[{%]")
_JOINED = re.compile(r"(['\"])\s*[~+]\s*\1")  # 'a' ~ 'b'
_DUNDER = re.compile(
    r"__(?:class|base|bases|mro|subclasses|globals|builtins|import|init|dict|getattribute|getitem|call|self|module|code"
    r"|func|closure|loader|spec|new|reduce|reduce_ex|doc|name|qualname|wrapped|setattr|delattr)__"
)
# What Jinja itself hands to a template and leads to Python from there, and ways to name an attribute unseen.
_WAYS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\.\s*_[A-Za-z_]\w*"), "an attribute that begins with an underscore"),
    (re.compile(r"\|\s*attr\b"), "the filter attr, which names an attribute unseen"),
    (re.compile(r"\|\s*map\s*\(\s*attribute\s*=\s*['\"]_"), "a map over a hidden attribute"),
    (re.compile(r"\b(?:lipsum|cycler|joiner|get_flashed_messages|url_for)\s*[.\[|]"), "an attribute of a Jinja global"),
    (re.compile(r"\bself\s*[.\[]\s*['\"]?_"), "the inside of the template itself"),
    (re.compile(r"\b(?:os|subprocess|builtins|sys)\s*\.\s*[a-z]\w*"), "a Python module"),
    (re.compile(r"\b(?:popen|__import__|import_module|getattr|eval|exec)\s*\("), "a call that runs code"),
    (re.compile(r"\bgi_(?:frame|code)\b|\bf_(?:globals|builtins|back)\b|\bmro\s*\("), "a way into Python's frames"),
)
_HIDDEN = re.compile(r"\\x[0-9a-fA-F]{2}|\\u00[0-9a-fA-F]{2}|\\[0-7]{3}")
_LOADS = re.compile(r"\{%-?\s*(?:include|import|from|extends)\b")


def template_troubles(text: str, where: str) -> Iterator[Trouble]:
    """What a template reaches for that no chat template needs.

    Args:
        text: The template.
        where: What holds it, in words: ``key tokenizer.chat_template``.
    """
    if len(text) > MAX_TEMPLATE:
        detail = f"{where} is a template of {len(text)} letters, of which {MAX_TEMPLATE} are read"
        yield Trouble("scan.incomplete", Severity.ERROR, detail)
        text = text[:MAX_TEMPLATE]
    reasons: list[str] = []
    for block in _blocks(text):
        for plain in dict.fromkeys((_JOINED.sub("", block), _JOINED.sub("", _unescaped(block)))):
            if (found := _DUNDER.search(plain)) is not None:
                reasons.append(f"the attribute {found[0]}")
            code = _without_texts(plain)
            reasons += [words for pattern, words in _WAYS if pattern.search(code)]
    if reasons:
        detail = f"{where} is a template that reaches for {', '.join(dict.fromkeys(reasons))}"
        yield Trouble("scan.dangerous-template", Severity.CRITICAL, detail)
    if _LOADS.search(text):
        yield Trouble("scan.template-loads", Severity.WARNING, f"{where} is a template that loads another one")


def _blocks(text: str) -> Iterator[str]:
    """What stands between the marks; an end that is missing is the end of the template."""
    at = 0
    while (found := _OPEN.search(text, at)) is not None:
        end = text.find("}}" if found[0] == "{{" else "%}", found.end())
        at = len(text) if end < 0 else end + 2
        yield text[found.start() : at]


def _without_texts(block: str) -> str:
    """The code of a block without its quoted texts; a quote that is never closed hides nothing."""
    kept: list[str] = []
    at = 0
    while at < len(block):
        ahead = [place for place in (block.find("'", at), block.find('"', at)) if place >= 0]
        start = min(ahead, default=len(block))
        kept.append(block[at:start])
        end = start + 1
        while end < len(block) and block[end] != block[start]:
            end += 2 if block[end] == "\\" else 1
        if end >= len(block):
            kept.append(block[start:])
            break
        kept.append("''")
        at = end + 1
    return "".join(kept)


def _unescaped(block: str) -> str:
    """The block with letters by number written out, since they hide an attribute from the eye."""
    return _HIDDEN.sub(lambda found: chr(_number(found[0])), block)


def _number(escape: str) -> int:
    digits = escape[2:] if escape[1] in "xu" else escape[1:]
    return int(digits, 16 if escape[1] in "xu" else 8)
