"""Names, held against what Dagster itself takes."""

from __future__ import annotations

from pathlib import PurePosixPath

import dagster as dg
from hypothesis import example, given
from hypothesis import strategies as st

from uad_orchestrator.project.parsing.names import name_fault

NAMES = st.text(max_size=12) | st.text(alphabet="ab._-|,[]/ *…\n~+@=", min_size=1, max_size=8)


@given(NAMES)
@example("metal_nut")
@example("Gehäuse 7")
def test_an_accepted_name_is_one_partition_and_one_folder(name):
    if name_fault(name) is not None:
        return
    key = f"line7/{name}"
    assert dg.StaticPartitionsDefinition([key]).get_partition_keys() == [key]
    both = dg.MultiPartitionsDefinition(
        {"category": dg.StaticPartitionsDefinition([key]), "detector": dg.StaticPartitionsDefinition([name])}
    )
    (cell,) = both.get_partition_keys()
    assert dict(both.get_partition_key_from_str(str(cell)).keys_by_dimension) == {
        "category": key,
        "detector": name,
    }
    path = PurePosixPath("root") / name / "version"
    assert path.parts == ("root", name, "version") and name not in ("..", ".")


def test_published_category_names_are_accepted():
    for name in ("metal_nut", "01", "pcb1", "pipe_fryum", "line-7", "vit_small.v2", "Gehäuse 7"):
        assert name_fault(name) is None
