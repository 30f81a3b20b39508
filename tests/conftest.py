"""Settings of every test."""

from hypothesis import settings

# A slow moment is no defect; the same examples come each time, so that a red run can be repeated.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")
