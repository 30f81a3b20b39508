from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.artifacts.names import clashes, fault, shown


@pytest.mark.parametrize(
    "name", ["model.bin", "a/b/c", "weights über.bin", "模型.safetensors", "...", "a b", ".hidden"]
)
def test_ordinary_names_are_fine(name: str) -> None:
    assert fault(name) is None
    assert shown(name) == name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "empty"),
        ("/etc/passwd", "empty"),
        ("a//b", "empty"),
        ("a/", "empty"),
        (".", "'.' or '..'"),
        ("a/../b", "'.' or '..'"),
        ("w.bin:0:300", "':'"),
        ("a\\b", r"'\\\\'"),
        ("a\nb", "U\\+000A"),
        ("a\x1b[2Jb", "U\\+001B"),
        ("a\x7f", "U\\+007F"),
        ("a\x85", "U\\+0085"),
        ("a\u2028b", "U\\+2028"),
        ("gpj.\u202eexe", "U\\+202E"),
        ("a\ud800", "U\\+D800"),
        ("a\udcff", "not valid UTF-8"),
        ("x" * 4097, "longer than"),
        ("/".join(["a"] * 65), "longer than"),
    ],
)
def test_names_that_could_hide_a_file_are_refused(name: str, words: str) -> None:
    reason = fault(name)
    assert reason is not None
    assert re.search(words, reason)


def test_what_a_terminal_would_obey_is_escaped() -> None:
    assert shown("a\x1b[2Jb") == r"'a\x1b[2Jb'"
    assert shown("a\u202eb") == r"'a\u202eb'"
    assert shown("a\udcff") == r"'a\udcff'"


@given(st.text())
def test_any_shown_name_is_printable(name: str) -> None:
    assert shown(name).isprintable()


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (["a", "b", "a.b"], ()),
        (["Model.bin", "model.bin"], (("Model.bin", "model.bin"),)),
        (["caf\u00e9", "cafe\u0301"], (("caf\u00e9", "cafe\u0301"),)),
        (["STRASSE", "straße"], (("STRASSE", "straße"),)),
        (["A/x", "a/y"], (("A", "a"),)),
        (["A/B/x", "A/b/y"], (("A/B", "A/b"),)),
        (["a", "a"], (("a", "a"),)),
        (["a", "a/b"], (("a", "a"),)),
        (["a/b", "a"], (("a", "a"),)),
        (["x/a", "x/b"], ()),
    ],
)
def test_names_that_are_one_name_somewhere_clash(names: list[str], pairs: tuple[tuple[str, str], ...]) -> None:
    assert clashes(names) == pairs
