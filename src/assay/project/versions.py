"""Which version of a model was seen here last: what was rolled back without a word is refused."""

from __future__ import annotations

from datetime import datetime

from assay.errors import AssayError
from assay.project.project import Project
from assay.signing.store import StoredVersions


class LoggedVersions:
    """The newest version of each signed name, from the database and from the log, which nobody can rewrite unseen.

    Args:
        project: Whose log and database.
    """

    KINDS = ("model.signed", "model.deployed", "model.rolled-back", "model.restored")

    def __init__(self, project: Project) -> None:
        self._project = project
        self._stored = StoredVersions(project.state)

    def seen(self, name: str) -> tuple[int, str] | None:
        """Return the newest version and its root digest; a wiped or older database does not make it forgotten."""
        stored = self._stored.seen(name)
        try:
            logged = self._project.log.entries(kinds=list(self.KINDS), subject=name)
        except AssayError:  # a broken log has a check of its own and must not hide what is wrong with the model
            return stored
        data = logged[-1].entry.data if logged else {}
        version, root = data.get("version"), data.get("root")
        if not isinstance(version, int) or not isinstance(root, str):
            return stored
        return stored if stored is not None and stored[0] >= version else (version, root)

    def highest(self, name: str) -> int:
        """Return the highest version there ever was, 0 for none: after a rollback no number is given twice.

        Raises:
            LogError: The log cannot be read.
        """
        logged = self._project.log.entries(kinds=list(self.KINDS), subject=name)
        versions = [one.entry.data.get("version") for one in logged]
        stored = self._stored.seen(name)
        return max([0, *(one for one in versions if isinstance(one, int)), *([stored[0]] if stored else [])])

    def remember(self, name: str, version: int, root: str, now: datetime) -> None:
        """Note a version that was verified."""
        self._stored.remember(name, version, root, now)
