from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import KeyFileError
from assay.keys.rfc7512 import TokenAddress, parse


def test_an_address_says_token_object_module_and_pin_file() -> None:
    text = (
        "pkcs11:token=The%20token;manufacturer=Snake%20Oil;serial=12ab;model=M;slot-id=7;object=release;id=%01%ff;"
        "type=private?module-path=/usr/lib/p11.so&pin-source=file:/run/secrets/pin"
    )
    assert parse(text) == TokenAddress(
        token=(("token", "The token"), ("manufacturer", "Snake Oil"), ("serial", "12ab"), ("model", "M")),
        slot=7,
        label="release",
        id=b"\x01\xff",
        module=Path("/usr/lib/p11.so"),
        pin_file=Path("/run/secrets/pin"),
    )


@pytest.mark.parametrize("source", ["file:/a/b", "file:///a/b", "/a/b"])
def test_a_pin_file_is_named_in_any_usual_way(source: str) -> None:
    assert parse(f"pkcs11:object=a?pin-source={source}").pin_file == Path("/a/b")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("token=a", "begins with pkcs11:"),
        ("pkcs11:token", "NAME=VALUE"),
        ("pkcs11:token=a;token=b", "twice"),
        ("pkcs11:token=a;colour=red", "'colour'"),
        ("pkcs11:library-version=3", "'library-version'"),
        ("pkcs11:pin-value=1234", "'pin-value'"),  # it belongs after the question mark
        ("pkcs11:object=a?token=b", "'token'"),
        ("pkcs11:token=a%2", "percent-encoded"),
        ("pkcs11:token=a%zz", "percent-encoded"),
        ("pkcs11:token=ä", "percent-encoded"),
        ("pkcs11:token=a\nb", "percent-encoded"),
        ("pkcs11:token=", "empty"),
        ("pkcs11:token=%00", "empty"),
        ("pkcs11:token=%ff", "UTF-8"),
        ("pkcs11:slot-id=x", "no number"),
        ("pkcs11:type=cert", "private, public or data"),
        ("pkcs11:object=a?module-name=softhsm2", "module-path"),
        ("pkcs11:object=a?module-path=libp11.so", "absolute"),
        ("pkcs11:object=a?pin-source=|cat%20/pin", "file:/absolute/path"),
        ("pkcs11:object=a?pin-source=file:pin", "file:/absolute/path"),
        ("pkcs11:object=a?pin-source=/p&pin-value=1", "both"),
        ("pkcs11:object=" + "a" * 5000, "characters"),
    ],
)
def test_what_is_not_read_is_refused_by_name(text: str, words: str) -> None:
    with pytest.raises(KeyFileError) as refused:
        parse(text)
    assert words in str(refused.value)


@given(st.text(max_size=200) | st.from_regex(r"pkcs11:([a-z-]{1,9}=[%a-f0-9]{0,6}[;?&]){0,6}", fullmatch=True))
def test_any_text_is_an_address_or_our_error(text: str) -> None:
    for candidate in (text, f"pkcs11:{text}"):
        try:
            found = str(parse(candidate))
        except KeyFileError as err:
            found = err.message
        assert found


PIN = "s3cret%20pin"


@pytest.mark.parametrize(
    "text",
    [
        f"pkcs11:object=a?pin-value={PIN}",
        f"pkcs11:pin-value={PIN}",
        f"pkcs11:{PIN}",
        f"pkcs11:object=a?pin-value={PIN}%",
        f"pkcs11:object=a?pin-value={PIN}&x",
    ],
)
def test_the_pin_is_never_shown(text: str) -> None:
    try:
        address = parse(text)
        shown = f"{address} {address!r}"
        assert address.pin == "s3cret pin"
    except KeyFileError as err:
        shown = f"{err} {err!r} {err.__cause__!r} {err.__context__!r}"
    assert "s3cret" not in shown


def test_an_address_is_told_without_how_to_reach_it() -> None:
    address = parse("pkcs11:token=a;slot-id=1;object=b;id=%01?module-path=/x.so")
    assert str(address) == "pkcs11:token=a;slot-id=1;object=b;id=01"
