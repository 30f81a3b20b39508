"""Settings of every test."""

from hypothesis import HealthCheck, settings

# A slow moment is no defect; the same examples come each time, so that a red run can be repeated.
settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")
