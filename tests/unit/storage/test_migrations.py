from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection, MetaData, create_engine, inspect, text

from assay.storage.database import HEADS, Branch, open_audit, open_state, reading, revision, version_table
from assay.storage.migrations.upgrade import head, upgrade
from assay.storage.tables import AUDIT, STATE

METADATA: dict[Branch, MetaData] = {"audit": AUDIT, "state": STATE}


def shape(connection: Connection) -> dict[str, object]:
    """Tables, columns, keys, indexes and constraints as the database has them."""
    found = inspect(connection)
    return {
        table: {
            "columns": [
                (each["name"], str(each["type"]), each["nullable"], each["default"])
                for each in found.get_columns(table)
            ],
            "key": found.get_pk_constraint(table)["constrained_columns"],
            "indexes": sorted(
                (str(each["name"]), tuple(each["column_names"]), each["unique"]) for each in found.get_indexes(table)
            ),
            "unique": sorted(tuple(each["column_names"]) for each in found.get_unique_constraints(table)),
            "foreign": sorted(
                (tuple(each["constrained_columns"]), each["referred_table"]) for each in found.get_foreign_keys(table)
            ),
        }
        for table in found.get_table_names()
        if not table.endswith("_version")
    }


@pytest.mark.parametrize("branch", ["audit", "state"])
def test_migrating_an_empty_database_makes_what_tables_py_says(branch: Branch) -> None:
    migrated, made = create_engine("sqlite://"), create_engine("sqlite://")
    METADATA[branch].create_all(made)
    with migrated.begin() as connection, made.connect() as wanted:
        upgrade(connection, branch)
        # Out of date? Before the first release: change the first migration. After it: write a new one.
        assert shape(connection) == shape(wanted)


@pytest.mark.parametrize("branch", ["audit", "state"])
def test_the_head_known_without_alembic_is_the_newest_script(branch: Branch) -> None:
    assert HEADS[branch] == head(branch)


@pytest.mark.parametrize("branch", ["audit", "state"])
def test_a_migrated_database_is_at_the_head(branch: Branch) -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        assert revision(connection, branch) is None
        upgrade(connection, branch)
        assert revision(connection, branch) == HEADS[branch]


def test_a_database_of_an_earlier_revision_is_migrated_when_opened(tmp_path: Path) -> None:
    # No earlier release exists: an emptied database, marked as one without any migration, stands for it.
    engine = open_state(tmp_path / "state.db")
    with engine.begin() as connection:
        for table in reversed(STATE.sorted_tables):
            connection.execute(text(f"DROP TABLE {table.name}"))
        connection.execute(text("DELETE FROM assay_state_version"))
        upgrade(connection, "state")
    engine.dispose()
    again = open_state(tmp_path / "state.db")
    with reading(again) as connection:
        assert set(shape(connection)) == set(STATE.tables)
    again.dispose()


def test_a_migration_that_fails_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    engine = open_state(tmp_path / "state.db")
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM assay_state_version"))
    with reading(engine) as connection:
        before = shape(connection)
    with pytest.raises(Exception, match="already exists"), engine.begin() as connection:
        upgrade(connection, "state")
    with reading(engine) as connection:
        assert shape(connection) == before
        assert revision(connection, "state") is None
    engine.dispose()


def test_both_branches_can_share_one_database(tmp_path: Path) -> None:
    open_state(tmp_path / "one.db").dispose()
    engine = open_audit(tmp_path / "one.db")
    with reading(engine) as connection:
        assert {*STATE.tables, *AUDIT.tables} <= set(shape(connection))
        assert {version_table("audit"), version_table("state")} <= set(inspect(connection).get_table_names())
    engine.dispose()
