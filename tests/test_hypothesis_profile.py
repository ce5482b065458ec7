"""The hypothesis profile of ``conftest.py`` holds for every test."""

import time

from hypothesis import given, settings
from hypothesis import strategies as st


@settings(max_examples=1)
@given(st.booleans())
def test_an_example_may_take_its_time(_: bool) -> None:
    time.sleep(0.25)  # hypothesis' own deadline is 0.2 s


def test_a_failure_prints_what_brings_it_back() -> None:
    assert settings.default.print_blob
