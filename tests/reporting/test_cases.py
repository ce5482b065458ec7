"""Which cases are shown."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reporting.cells import score_rows
from uad_orchestrator.metrics.image_metrics import threshold_metrics
from uad_orchestrator.reporting.cases import choose_cases, verdict

scores = st.floats(-1e6, 1e6).map(lambda value: round(value, 1))
tables = st.lists(st.tuples(scores, st.booleans(), st.sampled_from(["test", "calibration"])), max_size=30)


def rows_of(table):
    return [
        SimpleNamespace(
            image=f"{i:03}.png", role=role, label=int(bad), defect_type="cut" if bad else "good", score=score
        )
        for i, (score, bad, role) in enumerate(table)
    ]


@given(tables, st.integers(1, 4))
def test_the_extremes_are_chosen_and_nothing_twice(table, per_kind):
    rows = rows_of(table)
    chosen = choose_cases(rows, per_kind)
    assert len({case.image for case in chosen}) == len(chosen)
    defects = sorted(row.score for row in rows if row.role == "test" and row.label)
    normals = sorted((row.score for row in rows if row.role == "test" and not row.label), reverse=True)
    by_kind = {
        kind: [case.score for case in chosen if case.kind == kind]
        for kind in ("highest_defect", "lowest_defect", "highest_normal")
    }
    assert by_kind["lowest_defect"] == defects[:per_kind]
    assert by_kind["highest_defect"] == defects[per_kind:][::-1][:per_kind]
    assert by_kind["highest_normal"] == normals[:per_kind]


@given(tables, st.randoms())
def test_the_order_of_the_table_does_not_matter(table, random):
    rows = rows_of(table)
    shuffled = random.sample(rows, len(rows))
    assert choose_cases(rows) == choose_cases(shuffled)


def test_a_score_that_is_not_finite_is_named():
    rows = score_rows()
    rows[-1].score = math.inf
    with pytest.raises(ValueError, match=rows[-1].image):
        choose_cases(rows)


def test_one_rule_at_the_threshold():
    """A score equal to the threshold is normal, in a sheet's verdicts as in the metrics."""
    scores, labels = [0.1, 0.5, 0.5, 0.9], [0, 0, 1, 1]
    counted = threshold_metrics(scores, labels, 0.5)
    said = [verdict(label, score, 0.5) for score, label in zip(scores, labels, strict=True)]
    assert said.count("found") == counted.tp == 1
    assert said.count("missed") == counted.fn == 1
    assert said.count("false alarm") == counted.fp == 0
    assert said.count("passed") == counted.tn == 2
