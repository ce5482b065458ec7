"""A user's own images in folders: MVTec AD's arrangement, read generously.

``<category>/train/<normal>``, optionally ``<category>/validation/<normal>`` and ``<category>/test/<class>``, masks
optionally in ``<category>/ground_truth/<class>/<stem>[_mask].<ext>``; names in any case. A folder below a class, per
camera or per lot, is the group of its images. What is missing is left out of the results, never an error by itself.
"""

from uad_orchestrator.datasets.layouts.folder.reader import (
    VERSION,
    find_categories,
    is_category,
    scan_category,
)
from uad_orchestrator.datasets.layouts.folder.settings import FolderSettings, defect_folder_fault

__all__ = [
    "VERSION",
    "FolderSettings",
    "defect_folder_fault",
    "find_categories",
    "is_category",
    "scan_category",
]
