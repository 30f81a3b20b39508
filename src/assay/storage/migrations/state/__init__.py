"""Migrations of the state database, oldest first."""
