"""Shared settings of the tests: Hypothesis profiles."""

import os

from hypothesis import HealthCheck, settings

# "ci" draws the same examples in every run; "thorough" looks for new ones, for as long as one likes to wait.
settings.register_profile(
    "ci", derandomize=True, deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", deadline=None, max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
