"""The page on records says what there is: every column with its type, and the example."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa

from uad_orchestrator.inference.records.record import LineRecord, record_columns

PAGE = (Path(__file__).parents[3] / "docs/how-to/records.md").read_text(encoding="utf-8")


def word(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return "time"
    if pa.types.is_list(kind):
        return "texts"
    if pa.types.is_integer(kind):
        return "integer"
    return "number" if pa.types.is_floating(kind) else "text"


def test_the_table_has_every_column() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| .+ \|$", PAGE, re.MULTILINE)
    assert rows == [(column.name, word(column.type)) for column in record_columns()]


def test_the_example_is_one() -> None:
    (block,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert json.loads(block) == LineRecord.example().to_json()
