"""What ``component_place.py`` takes from Dagster beside its public API, held against the installed version."""

from __future__ import annotations

import sys
from pathlib import Path

import dagster as dg
import pytest

from tests.orchestration.dagster_instance.contracts import contract

PROJECT = '[tool.dg]\ndirectory_type = "project"\n\n[tool.dg.project]\nroot_module = "placed"\n'
COMPONENT = """\
import dagster as dg
from uad_orchestrator.orchestration.dagster_instance.component_place import place_of


class Placed(dg.Component, dg.Model, dg.Resolvable):
    name: str

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        return dg.Definitions(assets=[dg.AssetSpec(self.name, metadata={"place": str(place_of(context))})])
"""
FROM_PYTHON = """\
import dagster as dg
from placed.kinds import Placed


@dg.component_instance
def described(context: dg.ComponentLoadContext) -> Placed:
    return Placed(name="from_python")
"""


@contract("component_place.py", "tells a component the file or folder it is described in")
def test_a_component_knows_the_file_it_is_described_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "placed"
    files = {
        "pyproject.toml": PROJECT,
        "placed/__init__.py": "",
        "placed/kinds.py": COMPONENT,
        "placed/defs/from_yaml/defs.yaml": "type: placed.kinds.Placed\nattributes: {name: from_yaml}\n",
        "placed/defs/from_python/described.py": FROM_PYTHON,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        specs = dg.load_from_defs_folder(path_within_project=home).resolve_all_asset_specs()
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "placed"]:
            del sys.modules[name]
    assert {spec.key.path[0]: Path(str(spec.metadata["place"])) for spec in specs} == {
        "from_yaml": home / "defs/from_yaml/defs.yaml",
        "from_python": home / "defs/from_python/described.py",
    }
