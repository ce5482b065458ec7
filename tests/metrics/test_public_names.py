"""What ``uad_orchestrator.metrics`` exports is documented: arguments, results, and what is raised."""

from __future__ import annotations

import inspect

import pytest

from uad_orchestrator import metrics

FUNCTIONS = [name for name in metrics.__all__ if inspect.isfunction(getattr(metrics, name))]
CLASSES = [name for name in metrics.__all__ if inspect.isclass(getattr(metrics, name))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_says_what_it_takes_and_gives(name: str) -> None:
    function = getattr(metrics, name)
    documented = inspect.getdoc(function) or ""
    arguments, _, rest = documented.partition("Args:\n")[2].partition("Returns:\n")
    assert rest, "what it returns"
    for parameter in inspect.signature(function).parameters:
        assert parameter in arguments, parameter
    if "raise" in inspect.getsource(function):
        assert "Raises:\n" in rest


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_and_its_methods_say_what_they_are(name: str) -> None:
    found = getattr(metrics, name)
    assert len(found.__doc__ or "") > 40
    for method, member in vars(found).items():
        if not method.startswith("_") and (
            inspect.isfunction(member) or isinstance(member, property | classmethod)
        ):
            assert inspect.getdoc(getattr(found, method)) or f"{method}:" in found.__doc__, method


def test_the_names_are_there() -> None:
    assert len(FUNCTIONS) + len(CLASSES) + len({"METRICS", "PROTOCOLS"}) == len(metrics.__all__)
