"""The shelf of evidence: one file per thing that speaks for or against a cause."""
