"""docs/project-file.md says every key the code reads, with its default, and none that it does not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from uad_orchestrator.datasets.layouts.folder import FolderSettings
from uad_orchestrator.datasets.layouts.manifest_file import ManifestSettings
from uad_orchestrator.detectors.anomalib.names import KNOWN_MODELS
from uad_orchestrator.detectors.anomalib.settings import CheckpointCalibration, TrainSettings
from uad_orchestrator.detectors.bank.superadd_settings import TokenTileSettings
from uad_orchestrator.detectors.open_clip.prompt_settings import PromptSettings
from uad_orchestrator.detectors.protocol import settings as stages
from uad_orchestrator.detectors.protocol.tiling_settings import (
    TileBlending,
    TileCutting,
    TileScoring,
    TilingSettings,
)
from uad_orchestrator.detectors.registry import DETECTORS
from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.metrics import Costs, Pin
from uad_orchestrator.preprocessing.augmentation import AugmentSettings
from uad_orchestrator.preprocessing.settings import STEP_METHODS
from uad_orchestrator.project import settings
from uad_orchestrator.project.catalogue import installed_catalogue
from uad_orchestrator.project.parsing.reading import KEYS, project_from_text


def heading_of(model: str) -> str:
    """All models of anomalib share a heading."""
    return re.sub(r"^vision_\w+_anomalib$", "vision_<name>_anomalib", model)


PAGE = Path(__file__).parents[2] / "docs" / "project-file.md"

SECTIONS: dict[str, tuple[type[BaseModel], ...]] = {
    "storage": (settings.StorageSettings,),
    "runtime": (settings.RuntimeSettings,),
    "images": (settings.ImagesSettings,),
    "datasets.<name>": (settings.DatasetSettings, FolderSettings, ManifestSettings),
    "detectors.<name>": (settings.DetectorEntry,),
    "repeats": (settings.RepeatSettings,),
    "coreset": (stages.CoresetSettings,),
    "references": (stages.ReferenceSettings,),
    "prompts": (PromptSettings,),
    "index": (stages.IndexSettings,),
    "tiles": (TokenTileSettings,),
    "calibration": (CheckpointCalibration, stages.CoresetCalibration),
    "augment": (AugmentSettings,),
    "maps": (stages.MapSettings,),
    "morphology": (stages.MorphologySettings,),
    "tiling": (TilingSettings,),
    "embedder": (EmbedderSettings,),
    "evaluation": (settings.EvaluationSettings,),
    "costs": (Costs,),
    "operating_points": (settings.CellPins, Pin),
    "review": (settings.ReviewSettings,),
    "resources": (settings.ResourceSettings,),
    "dagster": (settings.DagsterSettings,),
    "pools": (settings.PoolSettings,),
    "automation": (settings.AutomationSettings,),
    "alerts": (settings.AlertSettings,),
    "webhook": (settings.WebhookSettings,),
    "slack": (settings.SlackSettings,),
    "email": (settings.EmailSettings,),
    "line": (settings.LineSettings,),
    "drift": (settings.DriftSettings,),
    "alarms": (settings.AlarmSettings,),
    "checks": (settings.ChecksSettings,),
    "intake": (settings.IntakeSettings,),
    "train": (TrainSettings,),
    **{heading_of(name): (spec.fit, spec.scoring) for name, spec in DETECTORS.items()},
}
INNER = {
    "detectors.<name>": {"name", "repeat_of", "fit", "scoring"},
    "datasets.<name>": {"layout_settings"},
}
"""Fields of a section that are no keys of the file."""


def tables() -> dict[str, list[list[str]]]:
    """The rows below each heading whose text is code."""
    found: dict[str, list[list[str]]] = {}
    rows: list[list[str]] = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if heading := re.fullmatch(r"#+ `(.+)`", line):
            rows = found.setdefault(heading[1], [])
        elif line.startswith("| `"):
            rows.append(re.split(r" *\| *", line.strip("| ")))
    return found


def default_of(field: FieldInfo) -> str | None:
    """The default as the page writes it; None where the page explains it in words."""
    if field.is_required():
        return "required"
    default = field.default
    if default is None or isinstance(default, BaseModel) or (isinstance(default, tuple) and len(default) > 3):
        return None
    value = list(default) if isinstance(default, tuple) else default
    plain = str(value) if isinstance(value, Path) else value
    return f"`{yaml.safe_dump(plain, default_flow_style=True).removesuffix('...' + chr(10)).strip()}`"


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_stands_in_its_table_with_its_default(section):
    fields = {key: field for model in SECTIONS[section] for key, field in model.model_fields.items()}
    fields = {key: field for key, field in fields.items() if key not in INNER.get(section, ())}
    rows = {row[0].strip("`"): row[1:] for row in tables()[section]}
    assert set(rows) == set(fields)
    for key, field in fields.items():
        default = default_of(field)
        if default is not None and key not in ("embedder", "maps"):
            assert rows[key][0] == default, key
        assert rows[key][-1], f"{key} has no meaning"


@pytest.mark.parametrize("model", DETECTORS)
def test_every_detector_setting_names_the_stage_that_reads_it(model):
    spec = DETECTORS[model]
    for key, _, stage, _ in tables()[heading_of(model)]:
        fitted = key.strip("`") in spec.fit.model_fields
        assert stage == ("`memory_bank`" if fitted else "`score_table`")
    assert not set(spec.fit.model_fields) & set(spec.scoring.model_fields), "each key belongs to one stage"


def test_every_tiling_setting_names_the_one_stage_that_reads_it():
    parts = {"memory_bank": TileCutting, "score_table": TileScoring, "anomaly_maps": TileBlending}
    expected = {key: f"`{stage}`" for stage, part in parts.items() for key in part.model_fields}
    assert {row[0].strip("`"): row[2] for row in tables()["tiling"]} == expected
    assert len(expected) == len(TilingSettings.model_fields)


@pytest.mark.parametrize("step", STEP_METHODS)
def test_every_preset_step_method_and_parameter_stands_there(step):
    expected = []
    for method, model in STEP_METHODS[step].items():
        parameters = {k: f for k, f in model.model_fields.items() if k != "method"}
        expected += [[f"`{method}`", f"`{k}`", default_of(f)] for k, f in parameters.items()]
        expected += [] if parameters else [[f"`{method}`", "", ""]]
    assert [row[:3] for row in tables()[step]] == expected


def test_every_part_of_the_file_has_a_heading():
    headings = {heading.partition(".")[0] for heading in tables()}
    assert set(KEYS) <= headings


def test_the_page_names_what_this_installation_offers():
    page = PAGE.read_text(encoding="utf-8")
    catalogue = installed_catalogue()
    detectors = {heading_of(model) for model in catalogue.detectors}
    for word in (*catalogue.layouts, *detectors, *KNOWN_MODELS, *catalogue.shipped_presets):
        assert f"`{word}`" in page


def test_the_samples_on_the_page_are_valid():
    (sample,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    project = project_from_text(sample, Path("somewhere"), installed_catalogue())
    assert set(project.detectors) == {"patchcore", "patchcore_robust"}
