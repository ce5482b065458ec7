"""anomalib as its users run it: its data module over a category in the layout of MVTec AD, and its Engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def data_module(category: Path, *, num_workers: int = 0, **more: Any) -> Any:
    """The category's images, read by so many processes beside its own; ``more`` are further arguments of ``Folder``."""
    from anomalib.data import Folder

    return Folder(
        name=category.name,
        root=category,
        normal_dir="train/good",
        normal_test_dir="test/good",
        abnormal_dir=[f"test/{defect}" for defect in defects(category)],
        num_workers=num_workers,
        seed=0,
        val_split_mode="same_as_test",  # never run: it only has to be there
        **more,
    )


def engine(folder: Path | str, accelerator: str = "cpu") -> Any:
    """An Engine that neither validates nor logs; ``folder`` takes what it writes."""
    from anomalib.engine import Engine

    return Engine(
        default_root_dir=folder,
        accelerator=accelerator,
        devices=1,
        logger=False,
        enable_progress_bar=False,
        limit_val_batches=0,
    )


def defects(category: Path) -> list[str]:
    """The category's defect types, sorted."""
    return sorted(folder.name for folder in (category / "test").iterdir() if folder.name != "good")
