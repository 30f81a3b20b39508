"""Servers of Spark Connect that are none."""

from __future__ import annotations

import pytest

from assay.engines import spark_sessions
from assay.engines.base import Source
from assay.engines.shelf import find
from assay.errors import TableError

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("spark")]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("sc://", "sc:// is no address of Spark Connect"),
        ("sc://host:abc", "sc://host:abc is no address of Spark Connect"),
        ("sc://u:secret@127.0.0.1:1/;token=secret", "no Spark Connect server answers at sc://127.0.0.1:1/$"),
    ],
)
def test_no_server_is_told_without_its_token(monkeypatch: pytest.MonkeyPatch, address: str, said: str) -> None:
    monkeypatch.setattr(spark_sessions, "RETRIES", 1)
    with pytest.raises(TableError, match=said) as caught:
        find(f"spark {address}").columns(Source(("table:t",)))
    assert "secret" not in caught.value.message
