"""The shelf of checks: how a model must behave, one kind a file."""
