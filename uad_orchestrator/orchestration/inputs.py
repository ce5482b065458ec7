"""The input assets: each records the digest of what it stands for, and nothing is computed."""

# No `from __future__ import annotations` here: Dagster reads the types of an asset's parameters.

from collections.abc import Mapping
from typing import Any

import dagster as dg

from uad_orchestrator.orchestration.events import asset_key
from uad_orchestrator.orchestration.graph import INPUTS, NODES, Node, cell_of
from uad_orchestrator.orchestration.partitions import Partitions
from uad_orchestrator.orchestration.resources import ProjectInputs, remember_input
from uad_orchestrator.orchestration.state import Input, InputUnavailable
from uad_orchestrator.project import Project

TABLE_ROWS = 20


def input_assets(project: Project, partitions: Partitions) -> list[dg.AssetsDefinition]:
    """One asset per input node of the graph."""
    return [_input_asset(NODES[name], project, partitions) for name in INPUTS]


def _input_asset(node: Node, project: Project, partitions: Partitions) -> dg.AssetsDefinition:
    @dg.asset(
        key=asset_key(project, node.asset),
        deps=[asset_key(project, name) for name in node.reads],
        partitions_def=partitions.of(node.dimension),
        group_name=node.group,
        kinds=set(node.kinds),
        owners=list(project.dagster.owners),
        description=node.description,
    )
    def fingerprint(context: dg.AssetExecutionContext, project_inputs: ProjectInputs) -> dg.MaterializeResult:
        cell = cell_of(node.dimension, context.partition_key)
        try:
            found = project_inputs.state.input(node.asset, cell)
        except InputUnavailable as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        remember_input(project_inputs.store, found)
        return dg.MaterializeResult(data_version=dg.DataVersion(found.version), metadata=describe(found))

    return fingerprint


def describe(found: Input) -> dict[str, Any]:
    """Metadata of an input: its version, counts of what it lists, and its content in short."""
    counts = {f"n_{name}": len(rows) for name, rows in found.content.items() if isinstance(rows, list)}
    metadata: dict[str, Any] = {"version": found.version, **counts}
    if "images" in found.content:
        metadata |= _image_metadata(found.content["images"])
    elif "labels" in found.content:
        metadata |= _label_metadata(found.content["labels"])
    else:
        metadata["settings"] = dg.MetadataValue.json(dict(found.content))
    return metadata


def _image_metadata(images: list[Mapping[str, Any]]) -> dict[str, Any]:
    by_split: dict[str, int] = {}
    for image in images:
        by_split[image["split"]] = by_split.get(image["split"], 0) + 1
    records = [
        dg.TableRecord({"image": i["path"], "split": i["split"], "sha256": i["sha256"][:16]})
        for i in images[:TABLE_ROWS]
    ]
    table = dg.MetadataValue.table(records) if records else "none"
    return {"dagster/row_count": len(images), "first_images": table} | {
        f"n_{k}": v for k, v in by_split.items()
    }


def _label_metadata(labels: list[Mapping[str, Any]]) -> dict[str, Any]:
    types: dict[str, int] = {}
    for label in labels:
        types[label["defect_type"]] = types.get(label["defect_type"], 0) + 1
    records = [dg.TableRecord({"defect_type": name, "images": n}) for name, n in sorted(types.items())]
    return {
        "n_anomalous": sum(label["label"] for label in labels),
        "defect_types": dg.MetadataValue.table(records) if records else "none",
    }
