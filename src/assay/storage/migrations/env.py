"""What Alembic runs: the scripts of one branch, on the connection it is handed."""

from __future__ import annotations

from alembic import context

from assay.storage.database import version_table

context.configure(
    connection=context.config.attributes["connection"],
    version_table=version_table(context.config.attributes["branch"]),
    transactional_ddl=False,  # the caller holds the transaction, tables and version row commit together
)
context.run_migrations()
