"""Settings of every test."""

from hypothesis import settings

# The machines are shared: a slow moment is no defect. The same examples come each time, so that a red run can be repeated.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")
