"""Migrations of the audit database, oldest first."""
