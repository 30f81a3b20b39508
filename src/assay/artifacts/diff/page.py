"""A comparison as one page: no scripts, no links, nothing fetched. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from assay.artifacts.diff.change import TensorChange
from assay.artifacts.diff.diff import ModelDiff
from assay.artifacts.diff.picture import DARK, GROUNDS, LIGHT, NARROW, WIDE, svg
from assay.artifacts.diff.rows import COLUMNS, most_changed, row
from assay.artifacts.names import shown

MOST_ROWS = 500

_STYLE = """
:root {{ color-scheme: light dark; {light}; --ground: #f6f7f9; --card: {white}; }}
@media (prefers-color-scheme: dark) {{ :root {{ {dark}; --ground: #10151c; --card: {black}; }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }}
main {{ max-width: 72rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }}
h1 {{ font-size: 1.5rem; line-height: 1.25; margin: .4rem 0; }}
h2 {{ font-size: 1.05rem; margin: 0 0 .6rem; }}
.card {{ background: var(--card); border: 1px solid var(--line); border-radius: .6rem; }}
.card {{ padding: 1rem; margin: 1rem 0; }}
.quiet {{ color: var(--quiet); }}
.pill {{ border: 1px solid currentColor; border-radius: 1em; padding: .1em .7em; font-size: .85rem; }}
dl {{ display: grid; grid-template-columns: auto 1fr; gap: .1rem 1rem; margin: 0; }}
dd {{ margin: 0; }}
svg {{ max-width: 100%; height: auto; }}
.narrow {{ display: none; }}
@media (max-width: 920px) {{ .narrow {{ display: block; }} .wide {{ display: none; }} }}
@media (max-width: 600px) {{ td:first-child {{ white-space: normal; overflow-wrap: anywhere; min-width: 9.5rem; }} }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .86rem; overflow-wrap: normal; }}
th, td {{ padding: .25rem .5rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }}
th:first-child, td:first-child {{ text-align: left; }}
th {{ color: var(--quiet); font-weight: 600; }}
ul {{ margin: 0; padding-left: 1.2rem; }}
"""


def page(diff: ModelDiff, *, old: str, new: str) -> str:
    """The comparison as an HTML document of its own.

    Args:
        diff: The comparison.
        old: Which model OLD is, in words.
        new: Which model NEW is.
    """
    light, dark = ("; ".join(f"--{name}: {value}" for name, value in side.items()) for side in (LIGHT, DARK))
    style = _STYLE.format(light=light, dark=dark, white=GROUNDS[0], black=GROUNDS[1])
    reading = diff.reading
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(reading.kind.value)}: {escape(shown(diff.new))}</title><style>{style}</style></head>"
        f"<body><main><h1>{escape(reading.kind.value.capitalize())} "
        f"<span class='pill'>{escape(reading.confidence.value)}</span></h1>"
        f"<p>{escape(_sentence(reading.reason))}</p>"
        f"<div class='card'><dl><dt class='quiet'>Old</dt><dd>{escape(shown(old))}</dd>"
        f"<dt class='quiet'>New</dt><dd>{escape(shown(new))}</dd>"
        f"<dt class='quiet'>Tensors</dt><dd>{len(diff.changed)} of {len(diff.tensors)} differ</dd></dl></div>"
        f"{_picture(diff)}{_table(diff)}{_list('Other files', _files(diff))}{_list('Not compared', diff.notes)}"
        "</main></body></html>\n"
    )


def _sentence(reason: str) -> str:
    return f"{reason[:1].upper()}{reason[1:]}."


def _picture(diff: ModelDiff) -> str:
    if not diff.tensors:
        return ""
    return (
        "<div class='card'><h2>Where it differs</h2>"
        f"<div class='wide'>{svg(diff, WIDE)}</div><div class='narrow'>{svg(diff, NARROW)}</div></div>"
    )


def _table(diff: ModelDiff) -> str:
    changed = most_changed(diff.changed)
    if not changed:
        return ""
    head = "".join(f"<th>{escape(column)}</th>" for column in COLUMNS)
    body = "".join(_row(one) for one in changed[:MOST_ROWS])
    more = len(changed) - MOST_ROWS
    rest = f"<p class='quiet'>and {more} more; --json lists them all</p>" if more > 0 else ""
    return (
        "<div class='card'><h2>Tensors, most changed first</h2><div class='scroll'><table><thead><tr>"
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>{rest}</div>"
    )


def _row(one: TensorChange) -> str:
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row(one)) + "</tr>"


def _files(diff: ModelDiff) -> list[str]:
    return [
        f"{shown(one.name)}: {one.what}"
        + (f" ({', '.join(shown(part) for part in one.parts[:8])})" if one.parts else "")
        for one in diff.files
    ]


def _list(title: str, entries: Sequence[str]) -> str:
    if not entries:
        return ""
    items = "".join(f"<li>{escape(entry)}</li>" for entry in entries[:MOST_ROWS])
    return f"<div class='card'><h2>{escape(title)}</h2><ul>{items}</ul></div>"
