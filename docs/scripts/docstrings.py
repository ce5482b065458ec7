"""Makes two things of the code's docstrings readable in the API reference; mkdocs.yml names this file to Griffe.

Doctests become code blocks: without that Markdown takes ``>>>`` for a quotation. And the fields of pydantic
models, each described in its own ``Field``, are listed as attributes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

import griffe

_DOCTEST = re.compile(r"^( *)>>> .*(?:\n\1\S.*)*", re.MULTILINE)
_ATTRIBUTES = "Attributes:\n"


class ReadableDocstrings(griffe.Extension):
    """Changes every docstring that Griffe meets."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by Griffe for each module, class, function and attribute once it is read."""
        if obj.docstring:
            obj.docstring.value = with_code_blocks(obj.docstring.value)

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        """Called by Griffe for each class once its members are read."""
        if cls.docstring and (described := dict(described_fields(cls))):
            cls.docstring.value = with_attributes(cls.docstring.value, described)


def with_code_blocks(docstring: str) -> str:
    """The docstring with every run of lines that begins with ``>>>`` fenced.

    >>> with_code_blocks("Adds.\\n\\n>>> 1 + 1\\n2").splitlines()
    ['Adds.', '', '```pycon', '>>> 1 + 1', '2', '```']
    """
    return _DOCTEST.sub(lambda run: f"{run[1]}```pycon\n{run[0]}\n{run[1]}```", docstring)


def with_attributes(docstring: str, described: dict[str, str]) -> str:
    """The docstring with an Attributes section that begins with the described ones.

    >>> print(with_attributes("Counts.\\n\\nAttributes:\\n    n: how many.", {"seed": "of the draw"}))
    Counts.
    <BLANKLINE>
    Attributes:
        seed: of the draw
        n: how many.
    """
    lines = "".join(f"    {name}: {text}\n" for name, text in described.items())
    if _ATTRIBUTES not in docstring:
        docstring = f"{docstring.rstrip()}\n\n{_ATTRIBUTES}"
    return docstring.replace(_ATTRIBUTES, _ATTRIBUTES + lines, 1)


def described_fields(cls: griffe.Class) -> Iterator[tuple[str, str]]:
    """Name and description of the fields that are written ``name: type = Field(..., description="...")``."""
    for name, attribute in cls.attributes.items():
        if not isinstance(attribute.value, griffe.ExprCall):
            continue
        for argument in attribute.value.arguments:
            if isinstance(argument, griffe.ExprKeyword) and argument.name == "description":
                yield name, ast.literal_eval(str(argument.value))
