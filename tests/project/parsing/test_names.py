"""Names and cron lines, held against what Dagster itself takes."""

from __future__ import annotations

from pathlib import PurePosixPath

import dagster as dg
from dagster._utils.schedules import is_valid_cron_string
from hypothesis import example, given
from hypothesis import strategies as st

from uad_orchestrator.project.cron import cron_fault
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


FIELD = st.one_of(
    st.sampled_from(["*", "*/5", "0", "1-5", "1,3", "mon", "jan", "mon-fri", "7", "0-59/10", "x", "5-1"]),
    st.integers(0, 70).map(str),
)


@given(st.lists(FIELD, min_size=4, max_size=6).map(" ".join))
@example("0 3 * * *")
@example("*/15 6-18 * * mon-fri")
@example("0 3 * *")
def test_a_cron_line_that_passes_is_one_for_dagster(line):
    if cron_fault(line) is None:
        assert is_valid_cron_string(line)


def test_cron_lines_people_write_pass():
    for line in ("0 3 * * *", "*/15 6-18 * * mon-fri", "0 0 1,15 * *", "@daily", "30 2 * jan-mar sun"):
        assert cron_fault(line) is None
    for line in (
        "",
        "daily",
        "0 3 * *",
        "60 3 * * *",
        "0 24 * * *",
        "a b c d e",
        "0 3 * * */0",
        "0 5-2 * * *",
    ):
        assert cron_fault(line)
