"""Images the user takes out by name: ``exclude:`` in the project file."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase


class Exclusions:
    """Images to leave out, by name or pattern.

    Args:
        names: posix paths relative to the dataset's root, or patterns as of ``fnmatch``.

    Attributes:
        left_out: the images taken out so far; a manifest shows them.

    >>> exclusions = Exclusions(["bottle/train/good/003.png", "bottle/test/*/9*.png"])
    >>> exclusions.apply(["bottle/train/good/003.png", "bottle/train/good/004.png"])
    ['bottle/train/good/004.png']
    >>> exclusions.unused("bottle")
    ['bottle/test/*/9*.png']
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.names = tuple(names)
        self.left_out: list[str] = []
        self._used: set[str] = set()

    def apply(self, images: Iterable[str]) -> list[str]:
        """Take the named images out.

        Args:
            images: posix paths relative to the dataset's root.

        Returns:
            Those that stay, in order.
        """
        return [image for image in images if not self.excludes(image)]

    def excludes(self, image: str) -> bool:
        """Whether an image is to be left out; it is noted if it is.

        Args:
            image: posix path relative to the dataset's root.

        Returns:
            True if an entry names it.
        """
        matching = [name for name in self.names if name == image or fnmatchcase(image, name)]
        self._used.update(matching)
        if matching:
            self.left_out.append(image)
        return bool(matching)

    def unused(self, category: str) -> list[str]:
        """Entries that matched nothing: misspelt, or the file is gone.

        Args:
            category: only the entries with this folder in their path are looked at.

        Returns:
            Them, in order.
        """
        return [n for n in self.names if f"/{category}/" in f"/{n}" and n not in self._used]
