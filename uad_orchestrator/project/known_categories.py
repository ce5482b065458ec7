"""What was last found at each dataset's root: its categories, and when they were seen.

While a root is away, an unmounted share say, the cells of its categories stay: they fail with the reason instead of
vanishing without a word. The record is ``<local>/categories.json``. Where it was lost, or a project was computed before
there was one, the artifacts say which categories there were.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from uad_orchestrator.project.project import Project
from uad_orchestrator.project.settings import StorageSettings
from uad_orchestrator.storage.atomic import write_text

RECORD = "categories.json"
_WRITTEN_AGAIN = timedelta(minutes=1)
"""A time of seeing is not written anew before it is so old."""


class KnownDataset(BaseModel):
    """What is known of a dataset.

    Attributes:
        root: the folder it was seen in.
        categories: when each was seen last; None where that was not recorded.
    """

    model_config = ConfigDict(frozen=True)

    root: Path | None = None
    categories: dict[str, AwareDatetime | None] = {}

    @property
    def seen(self) -> datetime | None:
        """When the root was there last."""
        return max((seen for seen in self.categories.values() if seen is not None), default=None)


Known = Mapping[str, KnownDataset]
"""By the datasets' names."""


def read_known(storage: StorageSettings, names: list[str]) -> dict[str, KnownDataset]:
    """What is known of the datasets of these names; a record that is missing or damaged counts as none."""
    try:
        record = json.loads((storage.local / RECORD).read_text(encoding="utf-8"))
        known = {name: KnownDataset.model_validate(values) for name, values in record.items()}
    except (OSError, ValueError, AttributeError, ValidationError):
        known = {}
    return {name: known.get(name) or _of_artifacts(storage, name) for name in names}


def remember_categories(project: Project) -> None:
    """Note which categories are there now; those that are gone keep their time, unless the file names the others.

    Nothing is written where the project's local folder is not there yet, or must not be written to.
    """
    storage, now = project.storage, datetime.now(UTC)
    if not storage.local.is_dir():
        return
    before = read_known(storage, list(project.datasets))
    after = {
        name: before[name] if name in project.unreachable else _seen(project, name, before[name], now)
        for name in project.datasets
    }
    if _differ(before, after):
        record = {name: known.model_dump(mode="json") for name, known in after.items()}
        with suppress(OSError):
            write_text(storage.local / RECORD, json.dumps(record, indent=1))


def _seen(project: Project, name: str, before: KnownDataset, now: datetime) -> KnownDataset:
    dataset = project.datasets[name]
    keys = [key.partition("/")[2] for key in project.category_keys() if key.startswith(f"{name}/")]
    there = {category: now for category in keys if f"{name}/{category}" not in project.unreachable}
    gone = {
        category: seen
        for category, seen in before.categories.items()
        if category in keys and category not in there and dataset.categories is None
    }
    return KnownDataset(root=dataset.root, categories={**gone, **there})


def _differ(before: Known, after: Known) -> bool:
    """Whether there is more to write than times that are a little later."""
    for name, known in after.items():
        old = before[name]
        if (old.root, old.categories.keys()) != (known.root, known.categories.keys()):
            return True
        for category, seen in known.categories.items():
            earlier = old.categories[category]
            if seen is not None and (earlier is None or seen - earlier > _WRITTEN_AGAIN):
                return True
    return False


def _of_artifacts(storage: StorageSettings, name: str) -> KnownDataset:
    """The categories whose files were ever recorded, as artifacts on a local disk have them."""
    folder = Path(storage.root) / "artifacts" / "dataset_category" / name
    if "://" in storage.root or not folder.is_dir():
        return KnownDataset()
    return KnownDataset(categories={found.name: None for found in sorted(folder.iterdir()) if found.is_dir()})
