"""Which folders hold normals and which defects: by their names, or as a user says."""

from __future__ import annotations

from pydantic import field_validator, model_validator

from uad_orchestrator.datasets.layout_settings import LayoutSettings
from uad_orchestrator.datasets.layouts.folder.words import MASKS, lower, plain
from uad_orchestrator.datasets.scan import NORMAL_WORDS


class FolderSettings(LayoutSettings):
    """Which folders of ``test`` hold normals, and which defects, where their names do not say it.

    Attributes:
        normal_folders: folders of normals; default: good, normal and ok.
        defect_folders: folders of defects; default: all others.
    """

    normal_folders: tuple[str, ...] | None = None
    defect_folders: tuple[str, ...] | None = None

    @field_validator("normal_folders", "defect_folders", mode="before")
    @classmethod
    def _one_name(cls, names: object) -> object:
        return (names,) if isinstance(names, str) else names

    @model_validator(mode="after")
    def _apart(self) -> FolderSettings:
        normal, defects = (
            {name.lower() for name in names or ()} for names in (self.normal_folders, self.defect_folders)
        )
        if both := sorted(normal & defects):
            raise ValueError(
                f"{both[0]!r} stands in normal_folders and in defect_folders; take it out of one of them"
            )
        for key in ("normal_folders", "defect_folders"):
            for name in getattr(self, key) or ():
                if not name.strip() or "/" in name:
                    raise ValueError(
                        f"{key} holds {name!r}; expected names of folders below test, e.g. scratch"
                    )
        return self

    def trained(self, name: str) -> bool:
        """Whether a folder of ``train`` or ``validation`` holds normals."""
        return name.lower() in self._normal_words and name.lower() not in lower(self.defect_folders)

    def tested(self, name: str) -> bool | None:
        """Whether a folder of ``test`` holds defects; None where the settings leave that open."""
        name, normal, defects = name.lower(), lower(self.normal_folders), lower(self.defect_folders)
        if name in normal or name in defects:
            return name in defects
        if name in NORMAL_WORDS:
            return None if normal else False
        return None if defects else True

    def misplaced(self, name: str, *, defective: bool) -> bool:
        """Whether a folder below a class says the other thing than the class does: it is no camera and no lot."""
        if defective:
            return self.tested(name) is False
        return name.lower() in lower(self.defect_folders)

    def masked(self, name: str) -> bool:
        """Whether a folder of ``test`` is taken for one of masks."""
        return plain(name) in MASKS and name.lower() not in lower(self.defect_folders)

    def neither(self, name: str) -> str:
        """What is said of a folder of ``test`` that the settings leave open."""
        normal, defects = (
            f"{key} ({', '.join(names)})" if names else key
            for key, names in (
                ("normal_folders", self.normal_folders),
                ("defect_folders", self.defect_folders),
            )
        )
        return f"{name!r} stands neither in {normal} nor in {defects}; add it to one of them"

    @property
    def expected(self) -> str:
        """The names of folders of normals, for messages."""
        return " or ".join(dict.fromkeys(self._normal_words))

    @property
    def _normal_words(self) -> tuple[str, ...]:
        return (*lower(self.normal_folders), *NORMAL_WORDS)


def defect_folder_fault(name: str, settings: FolderSettings) -> str | None:
    """Why a folder of ``test`` would not be read as one of defects; None: it would.

    >>> defect_folder_fault("OK", FolderSettings()), defect_folder_fault("scratch", FolderSettings())
    ('it is a word for normal images', None)
    """
    if settings.masked(name):
        return "a folder of that name is taken for masks"
    if (defective := settings.tested(name)) is None:
        return (
            "it stands neither in `normal_folders` nor in `defect_folders` of uad.yaml: add it to the latter"
        )
    return None if defective else "it is a word for normal images"
