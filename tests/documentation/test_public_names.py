"""``__all__`` of the packages says what is public: each name is there, and documented to its last parameter."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel

griffe = pytest.importorskip("griffe", reason="needs the docs extra")
ROOT = Path(__file__).parents[2]
PACKAGES = (
    "datasets", "detectors", "embedders", "export", "images", "inference", "memory", "metrics", "postprocess",
    "preprocessing", "project", "reporting", "storage",
)  # fmt: skip


class PublicName(NamedTuple):
    """A name that users may import, e.g. ``uad_orchestrator.inference`` and ``infer``."""

    package: str
    name: str

    def value(self) -> Any:
        return getattr(importlib.import_module(self.package), self.name)


def public_names() -> list[PublicName]:
    """Every name of every ``__all__``."""
    packages = [f"uad_orchestrator.{package}" for package in PACKAGES]
    return [
        PublicName(package, name) for package in packages for name in importlib.import_module(package).__all__
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_what_is_public_and_what_it_is_for(package: str) -> None:
    module = importlib.import_module(f"uad_orchestrator.{package}")
    assert module.__doc__
    assert module.__all__, f"uad_orchestrator.{package} has no __all__"
    assert len(set(module.__all__)) == len(module.__all__)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_the_root_has_its_version_alone() -> None:
    root = importlib.import_module("uad_orchestrator")
    assert "__version__" in root.__all__
    assert all(hasattr(root, name) for name in root.__all__)


@pytest.mark.parametrize("public", public_names(), ids=".".join)
def test_a_public_name_is_documented(public: PublicName) -> None:
    assert list(faults(public)) == []


def faults(public: PublicName) -> Iterator[str]:
    """What a reader of the API reference would miss."""
    value = public.value()
    if inspect.isclass(value) and value.__name__ == public.name:
        yield from class_faults(value)
    elif isinstance(value, FunctionType):
        yield from function_faults(value, public.name)
    elif not _attribute_docstring(public):
        yield f"{public.name} has no docstring below it"


def class_faults(value: type) -> Iterator[str]:
    """Of a class: its own docstring, its fields or the arguments of ``__init__``, each public method."""
    if not value.__doc__ or value.__doc__.startswith(f"{value.__name__}("):  # what dataclass writes itself
        yield f"{value.__name__} has no docstring"
        return
    if missing := _own_parameters(value) - _documented(value.__doc__) - _described_fields(value):
        yield f"{value.__name__} does not say what it is given or holds: {', '.join(sorted(missing))}"
    for name, member in vars(value).items():
        if name.startswith("_") or name in _own_parameters(value):
            continue
        if isinstance(member, property):
            if not inspect.getdoc(member) and name not in _documented(value.__doc__):
                yield f"{value.__name__}.{name} has no docstring"
        elif isinstance(member, classmethod | staticmethod):
            yield from function_faults(member.__func__, f"{value.__name__}.{name}", inspect.getdoc(member))
        elif isinstance(member, FunctionType):
            doc = inspect.getdoc(getattr(value, name))  # or that of the method it overrides
            yield from function_faults(member, f"{value.__name__}.{name}", doc)


def function_faults(function: Callable, name: str, doc: str | None = None) -> Iterator[str]:
    """Of a function: a docstring whose Args are its parameters, and Returns where it gives something."""
    doc = doc or inspect.getdoc(function)
    if not doc:
        yield f"{name} has no docstring"
        return
    signature = inspect.signature(function)
    parameters = {parameter.lstrip("*") for parameter in signature.parameters} - {"self", "cls"}
    documented = _documented(doc)
    if missing := parameters - documented:
        yield f"{name}: Args do not name {', '.join(sorted(missing))}"
    if unknown := documented - parameters:
        yield f"{name}: Args name {', '.join(sorted(unknown))}, which it does not take"
    gives = signature.return_annotation not in (None, "None", "NoReturn", inspect.Signature.empty)
    if gives and not _sections(doc) & {"returns", "yields"}:
        yield f"{name}: Returns is missing"


def _own_parameters(value: type) -> set[str]:
    """What makes an instance: fields, or the parameters of the class's own ``__init__``."""
    if issubclass(value, Enum) or getattr(value, "_is_protocol", False):
        return set()
    if is_dataclass(value):
        own = vars(value).get("__annotations__", {})
        return {field.name for field in fields(value) if not field.name.startswith("_") and field.name in own}
    if issubclass(value, BaseModel):
        return set(value.model_fields)
    if issubclass(value, tuple):
        return set(getattr(value, "_fields", ()))
    if "__init__" in vars(value):
        return set(inspect.signature(value.__init__).parameters) - {"self"}
    return set()


def _described_fields(value: type) -> set[str]:
    """Fields of a pydantic model whose description says it; the reference shows it."""
    if not issubclass(value, BaseModel):
        return set()
    return {name for name, field in value.model_fields.items() if field.description}


def _parsed(doc: str) -> list[Any]:
    return griffe.Docstring(inspect.cleandoc(doc)).parse("google", warnings=False)


def _documented(doc: str) -> set[str]:
    """The names of Args and Attributes, as the reference finds them."""
    kinds = ("parameters", "attributes")
    return {
        item.name.lstrip("*")
        for section in _parsed(doc)
        if section.kind.value in kinds
        for item in section.value
    }


def _sections(doc: str) -> set[str]:
    return {section.kind.value for section in _parsed(doc)}


@cache
def _source_tree() -> Any:
    loader = griffe.GriffeLoader(search_paths=[ROOT])
    tree = loader.load("uad_orchestrator")
    loader.resolve_aliases()
    return tree


def _attribute_docstring(public: PublicName) -> str:
    """The string below a constant or a type alias in the source."""
    found = _source_tree()[f"{public.package.removeprefix('uad_orchestrator.')}.{public.name}"]
    return found.docstring.value if found.docstring else ""
