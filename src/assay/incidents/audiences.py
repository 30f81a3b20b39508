"""Who is told through which channel, without the addresses ever leaving this object."""

from __future__ import annotations

from collections.abc import Sequence

from assay.errors import AlertError, AssayError
from assay.incidents.channels.base import Channel, Message
from assay.incidents.channels.shelf import digest_of, label_of, open_channel
from assay.incidents.rules import Audience


class Channels:
    """The channels of assay.toml, by audience.

    Elsewhere a channel is known by the digest of its address: addresses hold secrets.

    Args:
        security: Addresses of those who are told of integrity.
        owners: Addresses of those who are told of everything else.

    Raises:
        AlertError: An address is no URL. Whether its service exists is told by :meth:`test`.
    """

    def __init__(self, *, security: Sequence[str] = (), owners: Sequence[str] = ()) -> None:
        self._urls = {digest_of(url): url for url in (*security, *owners)}
        self._labels = {digest: label_of(url) for digest, url in self._urls.items()}
        self._of: dict[Audience, tuple[str, ...]] = {
            "security": tuple(dict.fromkeys(map(digest_of, security))),
            "owners": tuple(dict.fromkeys(map(digest_of, owners))),
        }
        self._open: dict[str, Channel] = {}

    def __repr__(self) -> str:
        return f"Channels({', '.join(sorted(self._labels.values()))})"

    def of(self, audience: Audience) -> tuple[str, ...]:
        """Digests of an audience's channels; the other audience's when it has none, so that somebody hears."""
        return self._of[audience] or self._of["owners" if audience == "security" else "security"]

    def digests(self) -> tuple[str, ...]:
        """Digests of all channels."""
        return tuple(self._urls)

    def label(self, digest: str) -> str:
        """What a person recognises a channel by: ``slack#1a2b3c4d``."""
        return self._labels.get(digest, f"removed#{digest[:8]}")

    def send(self, digest: str, message: Message) -> None:
        """Hand a message to a channel.

        Raises:
            AlertError: It did not take it, or is no longer in assay.toml.
        """
        url = self._urls.get(digest)
        if url is None:
            raise AlertError("the channel is no longer in assay.toml")
        try:
            if digest not in self._open:
                self._open[digest] = open_channel(url)
            self._open[digest].send(message)
        except AssayError as err:  # our own texts name no address
            raise AlertError(err.message) from None
        except Exception as err:  # noqa: BLE001  # one bad plug must not keep the others from being heard
            # The text is withheld and the cause cut off: a plug's error may quote the address.
            raise AlertError(f"the channel {self.label(digest)} failed with {type(err).__name__}") from None
