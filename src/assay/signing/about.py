"""What a signature says about a model beside its bytes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from assay.errors import AssayError
from assay.signing import canonical
from assay.storage.clock import from_text

_FIELDS = ("name", "version", "created", "expires", "previous_root", "statements")


@dataclass(frozen=True, slots=True)
class About:
    """What a signature says about the model beside its bytes.

    Attributes:
        name: The model's name, the same for all its versions; rollback is told by it.
        version: Rises by at least one with each signed version; from 0.
        created: Stored UTC text, the signer's own claim.
        expires: Stored UTC text; refused from then on, None for never.
        previous_root: Root digest of the version before, None for the first.
        statements: Digests of companion statements by kind, so that none can be taken away unseen.
    """

    name: str
    version: int
    created: str
    expires: str | None = None
    previous_root: str | None = None
    statements: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name.strip() or not self.name.isprintable():
            raise ValueError(f"found the model name {self.name!r}, wanted one that people can read")
        if not 0 <= self.version < 2**53:
            raise ValueError(f"found version {self.version}, wanted a whole number from 0")
        for time in (self.created, self.expires):
            if time is not None:
                _check_time(time)

    def as_json(self) -> dict[str, object]:
        """The fields as plain JSON values."""
        return {
            "name": self.name,
            "version": self.version,
            "created": self.created,
            "expires": self.expires,
            "previous_root": self.previous_root,
            "statements": dict(self.statements),
        }

    @classmethod
    def take(cls, value: object, *, what: str) -> About:
        """Read the fields from JSON values.

        Raises:
            BundleError: A field is missing, does not belong there, or is not what it should be.
        """
        found = canonical.record(value, _FIELDS, what=what)
        expires, previous = found["expires"], found["previous_root"]
        try:
            return cls(
                name=canonical.string(found["name"], what=what),
                version=canonical.whole(found["version"], what=what),
                created=canonical.string(found["created"], what=what),
                expires=None if expires is None else canonical.string(expires, what=what),
                previous_root=None if previous is None else canonical.hexadecimal(previous, 64, what=what),
                statements=canonical.strings(found["statements"], what=what),
            )
        except ValueError as err:
            raise canonical.malformed(what, str(err)) from err


def _check_time(text: str) -> None:
    try:
        from_text(text)
    except AssayError as err:
        raise ValueError(err.message) from err
