"""How hypothesis searches, in every test."""

from hypothesis import HealthCheck, settings

# A busy machine is no fault of an example, so nothing depends on the clock. Each run searches among other examples;
# the blob that a failing test prints brings its example back on any machine.
settings.register_profile(
    "tests", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("tests")
