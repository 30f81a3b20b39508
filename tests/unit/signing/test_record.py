"""A root digest on paper, and read back."""

from __future__ import annotations

import hashlib
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mnemonic import Mnemonic

from assay.errors import AssayError, ConfigError, MissingExtraError, VerificationError
from assay.signing.page import to_html, to_text
from assay.signing.record import MARK, Record, Wanted, check, grouped, left_out, read, words_of

ROOT = hashlib.sha256(b"a model").hexdigest()
OTHER = hashlib.sha256(b"another").hexdigest()
KEY = hashlib.sha256(b"a key").hexdigest()
RECORD = Record(ROOT, "loans", 7, "2026-03-01T12:00:00.000000Z", KEY, ("cache",))
THEIRS = Mnemonic("english")


@given(st.binary(min_size=32, max_size=32))
def test_the_words_are_those_of_bip39_and_lead_back(raw: bytes) -> None:
    words = words_of(raw.hex())
    assert " ".join(words) == THEIRS.to_mnemonic(raw)
    assert read(" ".join(words)) == Wanted(raw.hex(), words, sound=True)


@pytest.mark.parametrize(
    "root",
    ["00" * 32, "ff" * 32, "7f" * 32, "80" * 32],  # the vectors of BIP39 for 256 bits
)
def test_the_words_of_the_vectors(root: str) -> None:
    first, last = {
        "00": ("abandon", "art"),
        "ff": ("zoo", "vote"),
        "7f": ("legal", "title"),
        "80": ("letter", "bless"),
    }[root[:2]]
    assert (words_of(root)[0], words_of(root)[-1]) == (first, last)


def spellings() -> dict[str, str]:
    words = words_of(ROOT)
    return {
        "words": " ".join(words),
        "words with numbers": "\n".join(f"{at}. {word}" for at, word in enumerate(words, 1)),
        "words in capitals": ", ".join(words).upper(),
        "digits": ROOT,
        "digits in groups": " ".join(grouped(ROOT)),
        "digits with their scheme": f"sha256:{ROOT}",
        "digits with colons": ":".join(grouped(ROOT.upper(), 2)),
        "the code": f"{MARK} {ROOT}".upper(),
        "the page as text": to_text(RECORD),
        "the page": to_html(RECORD),
        "what a token keeps": RECORD.to_json().decode(),
        "half of the digits": ROOT[:32],
    }


@pytest.mark.parametrize("how", spellings())
def test_every_spelling_of_a_record_is_the_models_and_no_others(how: str) -> None:
    wanted = read(spellings()[how])
    check(wanted, ROOT, name="loans")
    with pytest.raises(VerificationError) as refused:
        check(wanted, OTHER, name="loans")
    assert [one.rule for one in refused.value.findings] == ["record.mismatch"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "found 0 words"),
        ("abandon ability", "found 2 words"),
        ("face add decade", "found 3 words"),
        (" ".join(["abandun", *words_of(ROOT)[:11]]), "the record is mistyped: word 1"),
        (" ".join(["abandun", *words_of(ROOT)[:10]]), "found 11 words"),
        (" ".join(words_of(ROOT)[:23]), "found 23 words"),
        (" ".join((*words_of(ROOT), "zoo")), "found 25 words"),
        (ROOT[:31], "31 hexadecimal digits"),
        (ROOT + "0", "65 hexadecimal digits"),
        (f"{MARK} {ROOT} {MARK} {OTHER}", "more than one model"),
        ("x" * ((1 << 20) + 1), "at most"),
        ("x" * (1 << 20), "found 1 words"),
    ],
)
def test_what_is_no_record_is_refused_with_what_is_wanted(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read(text)


def test_a_word_that_is_in_no_list_is_named_with_its_place_and_its_neighbour() -> None:
    words = [*words_of(ROOT)]
    words[6] = words[6][:-1] + "q"
    with pytest.raises(ConfigError, match=rf"word 7 \({words[6]}\) is not in the list, did you mean '\w+'"):
        read(" ".join(words))


@pytest.mark.parametrize("places", [(0,), (12,), (23,), (3, 17), (1, 2, 3)])
def test_a_word_of_the_list_typed_for_another_is_named_by_its_place(places: tuple[int, ...]) -> None:
    words = [*words_of(ROOT)]
    for at in places:
        words[at] = next(one for one in ("zoo", "zone", "youth") if one != words[at])
    wanted = read(" ".join(words))
    if wanted.sound:  # one in 256 mistakes passes the checksum; the digest still decides
        pytest.fail("choose other words: this mistake passes the checksum")
    with pytest.raises(VerificationError) as refused:
        check(wanted, ROOT, name="loans")
    (finding,) = refused.value.findings
    assert finding.rule == "record.mistyped"
    assert [int(one) for one in re.findall(r"word (\d+)", finding.detail)] == [at + 1 for at in places]


def test_words_with_a_broken_checksum_never_pass_even_where_their_digits_are_the_models() -> None:
    last = THEIRS.wordlist.index(words_of(ROOT)[-1])
    words = (*words_of(ROOT)[:-1], THEIRS.wordlist[last ^ 1])  # only the checksum differs
    wanted = read(" ".join(words))
    assert wanted.digits == ROOT
    with pytest.raises(VerificationError, match="word 24"):
        check(wanted, ROOT, name="loans")


def test_mistyped_words_of_another_model_name_no_single_word() -> None:
    words = (*words_of(OTHER)[:-1], "zoo")
    with pytest.raises(VerificationError, match="not this model's either"):
        check(read(" ".join(words)), ROOT, name="loans")


def test_too_few_digits_never_pass() -> None:
    with pytest.raises(VerificationError):
        check(Wanted(""), ROOT, name="loans")
    with pytest.raises(VerificationError):
        check(Wanted(ROOT[:31]), ROOT, name="loans")


@given(st.text(max_size=300))
def test_any_text_is_a_record_or_our_error(text: str) -> None:
    try:
        found = read(text).digits
    except AssayError as err:
        found = err.message
    assert found


def test_a_page_loads_nothing_and_obeys_no_name() -> None:
    page = to_html(Record(ROOT, '<script>alert(1)</script>"\n', None, "", "", ("<b>",)))
    assert "<script" not in page
    assert "<b>" not in page
    assert not re.search(r"(\bsrc=|href=|url\(|@import)", page.replace("http://www.w3.org/2000/svg", ""))
    assert "none said" in page
    assert "default-src 'none'" in page


def test_a_page_says_model_version_time_key_digits_words_and_what_was_left_out() -> None:
    for page in (to_text(RECORD), to_html(RECORD)):
        for said in ("loans", "7", "2026-03-01 12:00:00 UTC", KEY[:8], ROOT[:4], ROOT[-4:], "--ignore-path cache"):
            assert said in page
        for word in words_of(ROOT):
            assert word in page
    assert max(map(len, to_text(RECORD).splitlines())) <= 86


def test_many_names_left_out_do_not_push_the_page_onto_a_second_one() -> None:
    page = to_text(Record(ROOT, "loans", 1, "", "", tuple(f"cache-{at}" for at in range(100))))
    assert "and 92 more" in page
    assert len(page.splitlines()) < 40
    for count, said in ((8, False), (9, True)):
        page = to_html(Record(ROOT, "loans", 1, "", "", tuple(f"cache-{at}" for at in range(count))))
        assert ("and 1 more" in page, "and 0 more" in page) == (said, False)


def test_only_what_verification_does_not_leave_out_itself_is_told() -> None:
    assert left_out((".git", ".gitignore", "model.sig", "logs", "cache")) == ("cache", "logs")


@pytest.mark.parametrize("package", ["mnemonic", "segno"])
def test_a_missing_package_is_named_with_what_brings_it(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from assay.signing import record

    monkeypatch.setitem(sys.modules, package, None)
    record._wordlist.cache_clear()
    with pytest.raises(MissingExtraError, match=r"assay\[record\]"):
        to_html(RECORD)
    record._wordlist.cache_clear()
