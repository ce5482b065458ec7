"""What people judged, as ingestion needs it: where a category's judged images go, and which files their word is on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from uad_orchestrator.datasets.layouts.folder import FolderSettings, defect_folder_fault
from uad_orchestrator.datasets.manifest import Manifest
from uad_orchestrator.datasets.problems import DatasetError
from uad_orchestrator.orchestration.ingestion.folders import incoming_folder
from uad_orchestrator.orchestration.versions.state import InputUnavailable, ProjectState
from uad_orchestrator.project.parsing.names import name_fault
from uad_orchestrator.project.settings import DatasetSettings
from uad_orchestrator.review.category_review import CategoryReview
from uad_orchestrator.review.filing import Filing, KnownImage
from uad_orchestrator.review.judgement import Judged, standing
from uad_orchestrator.review.judgement_file import JudgementFile


def filing_of(state: ProjectState, category: str) -> Filing:
    """The folders of a category, as they are now; where it can take nothing in, with the reason."""
    dataset_name, name = category.split("/", 1)
    dataset = state.project.datasets[dataset_name]
    root, test = Path(dataset.root), f"{name}/test"
    if dataset.layout != "folder":
        refusal = f"{dataset_name} has the layout {dataset.layout}: published datasets are never written to"
        return Filing(root, None, test, refusal=f"{refusal}. Only `unsure` can be said of its images")
    try:
        manifest = state.manifest(category)
    except (DatasetError, InputUnavailable, OSError) as error:
        return Filing(root, None, test, refusal=f"{category} cannot be read: {error}")
    types = _type_folders(manifest)
    return Filing(
        root=manifest.root,
        incoming=None if dataset.incoming is None else incoming_folder(dataset, name),
        test_folder=_test_folder(manifest),
        type_folders=types,
        known=_known(state, manifest),
        type_fault=lambda kind: _type_fault(kind, types, dataset),
        masks_required=dataset.masks == "required",
        reading=manifest.reading,
    )


@dataclass(frozen=True)
class JudgedNormals:
    """The images of a category that stand judged normal, and what an ingestion makes of them.

    Attributes:
        judgements: where that is noted; None where the line is not recorded.
        normal: them, by SHA-256 (hex) of their files.
        faults: judgements that could not be completed, in words.
    """

    judgements: JudgementFile | None = None
    normal: Mapping[str, Judged] = field(default_factory=dict)
    faults: tuple[str, ...] = ()

    @classmethod
    def completed(cls, state: ProjectState, category: str) -> JudgedNormals:
        """Those of a category, once what a killed review left half done is completed: before images are listed.

        Raises:
            OSError: the judgements cannot be read.
        """
        records = state.project.line.records
        if records is None:
            return cls()
        review = CategoryReview(records, category, lambda: filing_of(state, category))
        if not review.judgements.path.exists():
            return cls(review.judgements)
        return cls(review.judgements, faults=tuple(review.complete())).read_again()

    def read_again(self) -> JudgedNormals:
        """With those that were judged since, too.

        Raises:
            OSError: the judgements cannot be read.
        """
        if self.judgements is None:
            return self
        normal = {
            judged.judgement.content: judged
            for judged in standing(self.judgements.read()).values()
            if judged.judgement.verdict == "normal"
        }
        return replace(self, normal=normal)

    def taken(self, content: str, path: str) -> dict[str, str] | None:
        """Note that an image was taken in; who judged it and when, None where nobody did."""
        judged = self.normal.get(content)
        if judged is None or self.judgements is None:
            return None
        said = judged.judgement
        self.judgements.add("taken", said.id, path=path)
        return {"judgement": said.id, "by": said.by, "time": said.time}

    def held(self, content: str, reason: str) -> None:
        """Note that an image was put in quarantine, if somebody judged it."""
        if self.judgements is not None and (judged := self.normal.get(content)):
            self.judgements.add("held", judged.judgement.id, reason=reason)


def _type_folders(manifest: Manifest) -> dict[str, str]:
    return {
        record.defect_type: str(PurePosixPath(*PurePosixPath(record.path).parts[:3]))
        for record in reversed(manifest.test)
        if record.label == 1
    }


def _test_folder(manifest: Manifest) -> str:
    """``<category>/test``, as the category spells it."""
    folders = [str(PurePosixPath(*PurePosixPath(record.path).parts[:2])) for record in manifest.test]
    return min(folders, default=f"{manifest.category}/test")


def _known(state: ProjectState, manifest: Manifest) -> dict[str, KnownImage]:
    excluded = {state.digests(manifest.file(path)): KnownImage(path, None) for path in manifest.excluded}
    return excluded | {
        record.digest: KnownImage(record.path, record.label == 1) for record in manifest.records
    }


def _type_fault(kind: str, types: dict[str, str], dataset: DatasetSettings) -> str | None:
    """Why a new type cannot be a folder of test images."""
    settings = dataset.layout_settings
    folders = settings if isinstance(settings, FolderSettings) else FolderSettings()
    if fault := name_fault(kind) or defect_folder_fault(kind, folders):
        return fault
    alike = next((known for known in types if known.lower() == kind.lower()), None)
    return None if alike is None else f"there is {alike!r}, which differs in case only"
