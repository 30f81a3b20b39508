"""The one-page record of a signed model, for paper: text, and HTML that prints on one A4 page. Pure.

The page loads nothing: no script, no font, no picture from elsewhere. What a name contains is shown as
text, never obeyed.
"""

from __future__ import annotations

import io
from html import escape

from assay.artifacts.names import shown
from assay.errors import MissingExtraError
from assay.signing.record import MARK, Record, grouped, words_of

_SHOWN_IGNORED = 8  # more would push the page onto a second one

_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 8mm; max-width: 190mm; background: #fff; color: #111;
  font: 10.5pt/1.4 system-ui, "Liberation Sans", "DejaVu Sans", sans-serif; }
h1 { margin: 0; font-size: 17pt; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 6mm 0 2mm; font-size: 11pt; }
p { margin: 0 0 2mm; }
.lead { color: #444; }
.top { display: flex; gap: 6mm; justify-content: space-between; align-items: flex-start; }
.top > div { min-width: 0; }
.qr { flex: none; width: 38mm; }
.qr svg { display: block; width: 100%; height: auto; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 1mm 5mm; margin: 4mm 0 0; }
dt { color: #444; }
dd { margin: 0; overflow-wrap: anywhere; }
.mono, .hex, .words { font-family: ui-monospace, "Liberation Mono", "DejaVu Sans Mono", monospace; }
.hex { display: grid; grid-template-columns: repeat(8, 1fr); gap: 1.5mm 3mm; margin: 0; padding: 3mm; font-size: 13pt;
  border: .4mm solid #111; }
.words { display: grid; grid-template-columns: repeat(4, 1fr); gap: 1.5mm 3mm; margin: 0; padding: 3mm;
  list-style: none; font-size: 12pt; border: .4mm solid #111; }
.words span { display: inline-block; width: 3ch; color: #666; font-size: 9pt; }
code { font-size: 9.5pt; overflow-wrap: anywhere; }
.by { display: grid; grid-template-columns: repeat(3, 1fr); gap: 6mm; margin-top: 12mm; }
.by p { margin: 0; padding-top: 1mm; border-top: .3mm solid #111; color: #444; font-size: 9pt; }
@media (max-width: 560px) {
  body { padding: 5mm; }
  .top { flex-direction: column; }
  .hex { grid-template-columns: repeat(4, 1fr); }
  .words { grid-template-columns: repeat(2, 1fr); }
  dl { grid-template-columns: minmax(0, 1fr); gap: 0; }
  dd { margin-bottom: 2mm; }
}
@page { size: A4; margin: 12mm; }
@media print { body { padding: 0; max-width: none; } }
"""


def to_text(record: Record) -> str:
    """The record as plain text of at most 78 columns, names apart.

    Raises:
        MissingExtraError: The package with the list of words is not installed.
    """
    words = words_of(record.root)
    numbered = [f"{at:>2} {word:<9}" for at, word in enumerate(words, 1)]
    lines = [f"RECORD OF A SIGNED MODEL: {shown(record.name)}", ""]
    lines += [f"{label:<12}{value}" for label, value in _facts(record)]
    lines += ["", "Root digest (SHA-256)", ""]
    lines += [f"    {' '.join(grouped(record.root)[at : at + 8])}" for at in (0, 8)]
    lines += ["", "The same in words", ""]
    lines += [f"    {'  '.join(numbered[at : at + 4])}".rstrip() for at in range(0, len(numbered), 4)]
    lines += ["", "To check a model against this page, type the words when asked:", ""]
    lines += [f"    {_command(record)}", "", f"{MARK} {record.root}", ""]
    return "\n".join(lines)


def to_html(record: Record) -> str:
    """The record as one self-contained page.

    Raises:
        MissingExtraError: The packages for words and QR codes are not installed.
    """
    facts = "".join(f"<dt>{escape(label)}</dt><dd>{escape(value)}</dd>" for label, value in _facts(record))
    hexes = "".join(f"<span>{group}</span>" for group in grouped(record.root))
    numbered = enumerate(words_of(record.root), 1)
    words = "".join(f"<li><span>{at}</span>{word}</li>" for at, word in numbered)
    name = escape(shown(record.name))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="record" content="{MARK} {record.root}">
<title>Record of {name}</title>
<style>{_STYLE}</style>
</head>
<body>
<div class="top">
<div>
<p class="lead">Record of a signed model</p>
<h1>{name}</h1>
<dl>{facts}</dl>
</div>
<div class="qr">{_qr(record.root)}</div>
</div>
<h2>Root digest (SHA-256)</h2>
<p class="hex">{hexes}</p>
<h2>The same in words</h2>
<ol class="words">{words}</ol>
<h2>To check a model against this page</h2>
<p>On a machine you trust, with the model there, run this and type the 24 words when asked:</p>
<p><code>{escape(_command(record))}</code></p>
<p>A mistyped word is named. The code above holds the digest; it can be given in place of the words.
Keep this page where nobody who can change the model can change it.</p>
<div class="by"><p>Printed by, on</p><p>Compared on screen by</p><p>Kept at</p></div>
</body>
</html>
"""


def _facts(record: Record) -> list[tuple[str, str]]:
    key = " ".join(grouped(record.key_id, 8)) if record.key_id else "not known"
    signed = f"{record.created[:19].replace('T', ' ')} UTC" if record.created else "no time said"
    version = "none said" if record.version is None else str(record.version)
    facts = [("Version", version), ("Signed", signed), ("Signed with", key)]
    if record.ignored:
        more = len(record.ignored) - _SHOWN_IGNORED
        left_out = ", ".join(shown(name)[:60] for name in record.ignored[:_SHOWN_IGNORED])
        facts.append(("Left out", f"{left_out}, and {more} more" if more > 0 else left_out))
    return facts


def _command(record: Record) -> str:
    ignored = "".join(f" --ignore-path {shown(name)[:60]}" for name in record.ignored[:_SHOWN_IGNORED])
    return f"assay verify PATH --record -{ignored}"


def _qr(root: str) -> str:
    try:
        import segno
    except ImportError as err:
        raise MissingExtraError("a record with a QR code", "record") from err
    # Upper case: QR codes hold capitals and digits in half the room. M: 15 % of it may be lost to a fold.
    code = segno.make(f"{MARK} {root}".upper(), error="m", micro=False)
    out = io.BytesIO()
    code.save(out, kind="svg", xmldecl=False, svgns=True, omitsize=True, border=2, svgclass=None, lineclass=None,
              title="QR code of the root digest")  # fmt: skip
    return out.getvalue().decode()
