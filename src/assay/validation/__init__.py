"""Does a model behave before release: suites of checks, and the report they give."""
