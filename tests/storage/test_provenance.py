"""Provenance: complete on every path, NaN as null, damage named."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys

import pytest

from uad_orchestrator.storage.provenance import Provenance, ProvenanceError, package_versions


def test_it_comes_back_as_written() -> None:
    made = Provenance(
        asset="metrics_report",
        dataset="d",
        category="c",
        detector="p",
        version="v",
        inputs={"score_table": "s"},
        settings={"aupro_limits": [0.3, 0.05]},
        metrics={"image_auroc": 0.98},
        seeds={"coreset": 0},
        facts={"n_test": 83},
    )
    assert Provenance.from_json(made.to_json(), "here") == made


def test_nan_is_written_as_null() -> None:
    made = Provenance(asset="a", version="v", metrics={"pixel_auroc": math.nan}, facts={"p": [math.inf]})
    stored = json.loads(made.to_json(), parse_constant=pytest.fail)
    assert stored["metrics"] == {"pixel_auroc": None}
    assert stored["facts"] == {"p": [None]}


def test_every_field_is_there_on_every_path() -> None:
    least, most = Provenance(asset="a", version="v"), Provenance(asset="a", version="v", metrics={"m": 1})
    assert json.loads(least.to_json()).keys() == json.loads(most.to_json()).keys()
    assert {"inputs", "settings", "seeds", "packages", "device", "host", "seconds"} <= json.loads(
        least.to_json()
    ).keys()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"asset": "a"}', '{"asset": "a", "version": "v", "bytes": -1}']
)
def test_damage_names_the_file_and_says_what_to_do(text: str) -> None:
    with pytest.raises(ProvenanceError, match=r"x/provenance\.json .*delete its folder, or refresh"):
        Provenance.from_json(text, "x/provenance.json")


def test_no_bit_changes_unseen() -> None:
    whole = Provenance(asset="a", version="v", metrics={"m": 1}, files={"x": 1}).to_file()
    for place, bit in itertools.product(range(len(whole)), range(8)):
        changed = bytearray(whole)
        changed[place] ^= 1 << bit
        with pytest.raises(ProvenanceError):
            Provenance.from_file(bytes(changed), "x/provenance.json")


def test_package_versions_import_nothing() -> None:
    versions = package_versions()
    assert versions["numpy"] == __import__("numpy").__version__
    program = (
        "import sys; from uad_orchestrator.storage.provenance import package_versions; package_versions();"
        "print([m for m in ('torch', 'cv2', 'scipy', 'duckdb', 'pyarrow', 'dagster') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
