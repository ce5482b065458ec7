"""What installed packages add: detectors, embedders and layouts, by their entry points.

A package names what it brings in its ``pyproject.toml``::

    [project.entry-points."uad_orchestrator.detectors"]
    acme_detector = "acme.detector_spec:SPEC"

The words are read from the packages' metadata. A package is imported when one of its words is used, so that one that
is broken is in the way of nobody else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from typing import Any, Generic, TypeVar

Spec = TypeVar("Spec")


class PluginError(ImportError):
    """A word that an installed package offers cannot be used; says which package, why, and what to do."""


@dataclass(frozen=True)
class PluginGroup(Generic[Spec]):
    """The plug-ins of one kind.

    Attributes:
        name: the group of their entry points.
        kind: what each of them leads to.
        noun: what messages call one.
    """

    name: str
    kind: type[Spec]
    noun: str

    @property
    def words(self) -> tuple[str, ...]:
        """Every word that an installed package offers, sorted; none is imported."""
        return tuple(sorted(_offers(self.name)))

    def choose(self, word: str, ours: Spec | None) -> Spec | None:
        """What a word stands for.

        Args:
            word: as a project file says it.
            ours: what it stands for here, without any plug-in; None: nothing.

        Returns:
            Ours, or what a package brings; None where nobody offers the word.

        Raises:
            PluginError: two packages offer it, or one beside us: a result must not depend on which of them is found
                first; or the package cannot be imported, or brings something else.
        """
        offers = _offers(self.name).get(word, ())
        if not offers:
            return ours
        if ours is not None or len(offers) > 1:
            packages = ["uad_orchestrator itself"] if ours is not None else []
            packages += [f"the package {_package(offer)}" for offer in offers]
            raise PluginError(
                f"the {self.noun} {word!r} is offered by {' and by '.join(packages)}: there can be one of that name; "
                f"uninstall a package, or have its entry point renamed"
            )
        return self._loaded(offers[0])

    def package_of(self, word: str) -> dict[str, str]:
        """The package that brings a word.

        Args:
            word: as a project file says it.

        Returns:
            Its distribution's name with its version; empty where none does.
        """
        return {
            offer.dist.name: offer.dist.version for offer in _offers(self.name).get(word, ()) if offer.dist
        }

    def notes(self, find: Callable[[str], object]) -> Iterator[str]:
        """A sentence on each plug-in: whose it is, or why it cannot be used. Each is imported.

        Args:
            find: looks a word up; raises PluginError for one that cannot be used.

        Returns:
            The sentences, one after the other.
        """
        for word in self.words:
            try:
                find(word)
            except PluginError as error:
                yield f"plug-in: {error}"
            else:
                yield f"plug-in: {self.noun} {word} of {_package(_offers(self.name)[word][0])}"

    def _loaded(self, offer: EntryPoint) -> Spec:
        whose = f"the {self.noun} {offer.name!r} of the package {_package(offer)}"
        try:
            spec = offer.load()
        except Exception as error:  # whatever the code of others raises while it is imported
            raise PluginError(
                f"{whose} cannot be imported ({offer.value}): {type(error).__name__}: {error}; "
                "repair the package, or uninstall it"
            ) from error
        if not isinstance(spec, self.kind):
            raise PluginError(
                f"{whose} is no {self.kind.__name__}: {offer.value} is a {type(spec).__name__}; the package has "
                "to be corrected"
            )
        return spec


@cache
def _offers(group: str) -> Mapping[str, tuple[EntryPoint, ...]]:
    """The entry points of a group by their words."""
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for offer in _entry_points().select(group=group):
        found[offer.name] = (*found.get(offer.name, ()), offer)
    return found


@cache
def _entry_points() -> Any:  # EntryPoints, but for Python 3.11
    """Those of all packages, read once: what is installed changes for a running process no more than the modules it has
    imported."""
    return entry_points()


def _package(offer: EntryPoint) -> str:
    return f"{offer.dist.name} {offer.dist.version}" if offer.dist else f"of {offer.value}"


def installed(package: str) -> bool:
    """Whether a package is installed.

    Args:
        package: the name of its distribution.

    Returns:
        Whether it is, in any version.
    """
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True
