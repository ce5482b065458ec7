"""Names of any bytes become text that tables take, and lead back to the file."""

from __future__ import annotations

import json
import os

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from uad_orchestrator.storage.file_names import file_path, printable, table_name

names = st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name).map(os.fsdecode)


@given(names)
def test_a_name_comes_back_from_its_table_name(name: str) -> None:
    written = table_name(name)
    assert file_path(written) == name
    assert "\n" not in written and "\r" not in written
    assert pa.array([written]).to_pylist() == json.loads(json.dumps([written])) == [written]
    written.encode()
    printable(name).encode()


@given(names, names)
def test_two_names_have_two_table_names(one: str, other: str) -> None:
    assert (table_name(one) == table_name(other)) == (one == other)


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"], exclude_characters="\\")))
def test_a_plain_name_stays_as_it_is(name: str) -> None:
    assert table_name(name) == printable(name) == name
