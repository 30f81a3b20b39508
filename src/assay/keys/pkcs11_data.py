"""Small data objects on a token, which only who knows its PIN can write: the place for a digest.

Such an object is private (CKA_PRIVATE). A public one could be put there by anybody who reaches the token, without
a PIN; it is refused when read, however it is labelled.

References:
    OASIS PKCS#11 v3.0, sections 4.5 (data objects) and 2.4 of RFC 7512 (addresses).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from assay.errors import KeyFileError
from assay.keys import rfc7512
from assay.keys.base import Ask
from assay.keys.pkcs11 import open_door
from assay.keys.rfc7512 import TokenAddress

if TYPE_CHECKING:
    import pkcs11

APPLICATION = "assay"
_MAX_BYTES = 4096


def write(address: str, ask: Ask, value: bytes) -> tuple[str, ...]:
    """Put bytes on a token under a label; what assay had put there before is replaced.

    Args:
        address: ``pkcs11:token=…;object=LABEL?module-path=…``.
        ask: For the PIN.
        value: At most 4 KiB.

    Returns:
        Warnings for the person who asked.

    Raises:
        KeyFileError: No such token, a wrong PIN, or the token does not take it.
        MissingExtraError: python-pkcs11 is not installed.
    """
    import pkcs11

    if len(value) > _MAX_BYTES:
        raise KeyFileError(f"found {len(value)} bytes to put on a token; wanted at most {_MAX_BYTES}")
    wanted = _labelled(address)
    door, warnings = open_door(wanted, ask)
    with door.session(write=True) as session:
        former = _find(session, wanted)
        session.create_object(
            {
                pkcs11.Attribute.CLASS: pkcs11.ObjectClass.DATA,
                pkcs11.Attribute.TOKEN: True,
                pkcs11.Attribute.PRIVATE: True,
                pkcs11.Attribute.LABEL: wanted.label,
                pkcs11.Attribute.APPLICATION: APPLICATION,
                pkcs11.Attribute.VALUE: value,
            }
        )
        for one in former:  # afterwards: a token that takes no more must not lose what it had
            one.destroy()
    return warnings


def read(address: str, ask: Ask) -> tuple[bytes, tuple[str, ...]]:
    """Read the bytes under a label, and warnings for the person who asked.

    Raises:
        KeyFileError: No such token or object, a wrong PIN, or an object that anybody could have put there.
        MissingExtraError: python-pkcs11 is not installed.
    """
    import pkcs11

    wanted = _labelled(address)
    door, warnings = open_door(wanted, ask)
    with door.session() as session:
        found = _find(session, wanted)
        if len(found) != 1:
            raise KeyFileError(f"{wanted}: the token holds {len(found)} such records; wanted one")
        value = bytes(found[0][pkcs11.Attribute.VALUE])
    if len(value) > _MAX_BYTES:
        raise KeyFileError(f"{wanted}: found {len(value)} bytes; wanted at most {_MAX_BYTES}")
    return value, warnings


def _labelled(address: str) -> TokenAddress:
    wanted = rfc7512.parse(address)
    if wanted.label is None:
        raise KeyFileError(f"{wanted}: under which label? add object=LABEL")
    return wanted


def _find(session: pkcs11.Session, address: TokenAddress) -> list[pkcs11.Object]:
    import pkcs11

    template = {
        pkcs11.Attribute.CLASS: pkcs11.ObjectClass.DATA,
        pkcs11.Attribute.LABEL: address.label,
        pkcs11.Attribute.APPLICATION: APPLICATION,
    }
    # Asked of each object: a token may not take CKA_PRIVATE in a template.
    return [one for one in session.get_objects(template) if one[pkcs11.Attribute.PRIVATE] is True]
