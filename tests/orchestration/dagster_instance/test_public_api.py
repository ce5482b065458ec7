"""Nothing outside ``dagster_instance/`` touches what is not public in Dagster's API.

Public is what ``dagster`` exports, and of its classes what carries the mark ``@public`` or ``PublicAttr``.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import dagster as dg
import pytest

import uad_orchestrator

PACKAGE = Path(uad_orchestrator.__file__).parent
KNOW_DAGSTER = (
    PACKAGE / "definitions.py",
    PACKAGE / "component.py",
    *sorted((PACKAGE / "cli").rglob("*.py")),
    *sorted(p for p in (PACKAGE / "orchestration").rglob("*.py") if "dagster_instance" not in p.parts),
)
HELD = (
    dg.AssetCheckExecutionContext, dg.AssetCheckResult, dg.AssetChecksDefinition, dg.AssetExecutionContext,
    dg.AssetKey, dg.AssetMaterialization, dg.AssetObservation, dg.AssetsDefinition, dg.ComponentLoadContext,
    dg.ConfigurableResource, dg.DagsterEvent, dg.DagsterInstance, dg.DagsterRun, dg.Definitions, dg.EventLogEntry,
    dg.EventLogRecord, dg.ExecuteInProcessResult, dg.InitResourceContext, dg.JobDefinition, dg.MetadataValue,
    dg.MultiPartitionsDefinition, dg.OpExecutionContext, dg.RunRecord, dg.RunRequest, dg.ScheduleEvaluationContext,
    dg.SensorEvaluationContext, dg.StaticPartitionsDefinition,
)  # fmt: skip
"""The classes of Dagster's whose objects the package holds."""

DOCUMENTED_METADATA = {"dagster/column_schema", "dagster/row_count"}


def members(of: type) -> dict[str, bool]:
    """What a class of Dagster's offers by name, and whether that is public."""
    found: dict[str, bool] = {}
    for owner in of.__mro__:
        if owner.__module__.partition(".")[0] not in ("dagster", "dagster_shared"):
            continue
        for name, value in vars(owner).items():
            function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            public = getattr(function, "_is_public", False) or getattr(value, "_is_public", False)
            found[name] = bool(public) or found.get(name, False)
        for name, annotation in inspect.get_annotations(owner).items():
            found[name] = "'public'" in str(annotation) or found.get(name, False)
        for name in getattr(owner, "_fields", ()):  # of a named tuple, annotated on an unnamed base
            found.setdefault(name, False)
    return {name: public for name, public in found.items() if not name.startswith("__")}


@cache
def private_names() -> set[str]:
    """The names that are public in no class, and that nothing of ours or of Python's has."""
    offered = [item for of in HELD for item in members(of).items()]
    public = {name for name, is_public in offered if is_public}
    pythons = {name for kind in (str, bytes, dict, list, set, tuple, Path) for name in dir(kind)}
    pythons.add("pid")  # of subprocess.Popen
    return (
        {name for name, _ in offered}
        - public
        - pythons
        - set(_own_names())
        - {"_fields", "_asdict", "_replace"}
    )


def _own_names() -> Iterator[str]:
    """What we call so, too; not where a class of ours stands in for one of Dagster's, and so has its names."""
    for path in set(PACKAGE.rglob("*.py")) - {PACKAGE / "orchestration/dagster_instance/postgres.py"}:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                yield node.name
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                yield node.target.id


def faults(tree: ast.Module) -> Iterator[str]:
    """What a module takes from Dagster that is not public."""
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module)) if module.startswith("dagster"):
                names = [f"{module}.{alias.name}" for alias in node.names]
            case ast.Import():
                names = [alias.name for alias in node.names if alias.name.startswith("dagster")]
            case ast.Constant(value=str(text)) if text.startswith("dagster/"):
                names = [] if text in DOCUMENTED_METADATA else [f"._tag {text}"]
            case ast.Constant(value=str(text)) if text.startswith("dagster."):
                names = [text]
            case ast.Attribute(attr=name) if name in private_names():
                names = [f"._{name}"]
            case ast.Attribute(value=ast.Name(id="dg"), attr=name) if not hasattr(dg, name):
                names = [f"._{name}"]
            case _:
                continue
        yield from (
            f"line {node.lineno}: {name.replace('._', ' ').strip()}" for name in names if "._" in name
        )


@pytest.mark.parametrize("path", KNOW_DAGSTER, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_dagster_instance_touches_what_is_not_public(path: Path) -> None:
    found = list(faults(ast.parse(path.read_text())))
    assert not found, f"not public in Dagster's API, belongs into orchestration/dagster_instance/: {found}"


@pytest.mark.parametrize(
    "line",
    [
        "from dagster._core.events import RunFailureReason",
        "import dagster._vendored.dateutil",
        "command = [python, '-m', 'dagster._daemon']",
        "versions = instance.event_log_storage",
        "instance.get_latest_storage_id_by_partition(key, kind)",
        "instance.report_run_failed(run)",
        "job = definitions.resolve_job_def('cell')",
        "narrowed = job.get_subset(asset_selection={key})",
        "chosen = run.asset_selection",
        "reason = event.job_failure_data.failure_reason",
        "instance.dispose()",
        "tag = 'dagster/data_version'",
    ],
)
def test_the_search_finds_what_is_not_public(line: str) -> None:
    assert list(faults(ast.parse(line)))


@pytest.mark.parametrize(
    "line",
    [
        "instance.fetch_materializations(wanted, limit=1)",
        "instance.report_runless_asset_event(event)",
        "done = result.dagster_run.is_success",
        "rows = {'dagster/row_count': 3}",
        "key = context.partition_key",
        "from dagster import DagsterRunStatus, RunsFilter",
    ],
)
def test_the_search_lets_public_names_pass(line: str) -> None:
    assert not list(faults(ast.parse(line)))
