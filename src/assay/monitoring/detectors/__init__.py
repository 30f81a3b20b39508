"""Detectors: each asks the rows of a signal questions and weighs the answers."""
