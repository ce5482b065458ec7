"""What is known of an embedder, or of a family of them, without loading it."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from uad_orchestrator.embedders.settings import EmbedderSettings
from uad_orchestrator.embedders.weights import random_seed

if TYPE_CHECKING:
    from uad_orchestrator.embedders.protocol import PatchEmbedder

TORCH_MODULES = ("torch", "torchvision", "timm")
"""What has to be installed for the networks of the extra ``torch``."""


def _as_given(settings: Any) -> Any:
    return settings


def _no_hub(settings: Any) -> None:
    return None


def _all_settings(settings: EmbedderSettings) -> dict[str, Any]:
    """The settings but for the weights, whose content counts wherever they lie."""
    recipe = settings.model_dump(mode="json", exclude={"weights", "download"}, exclude_none=True)
    seed = random_seed(settings)
    return recipe if seed is None else {**recipe, "random_seed": seed}


@dataclass(frozen=True)
class EmbedderSpec:
    """What is known of an embedder, or of a family of them, without loading it.

    A plug-in's is what its entry point in ``uad_orchestrator.embedders`` leads to; the entry point's name is the
    embedder's.

    Attributes:
        implementation: ``package.module:name`` of a class or function, imported when the first embedder is made. It is
            called with the resolved settings, the weight file (``Path`` or None) and the device (``auto``, ``cpu``,
            ``cuda``...), and gives a ``PatchEmbedder``.
        version: raised when the same image gives other numbers.
        settings: the model of its ``embedder:`` entry.
        reads: which keys of ``EmbedderSettings`` it reads beside ``name``, and those that ``settings`` adds; every
            other key is refused. With ``weights`` among them it has a weight file.
        resolve: from settings to settings with every default filled in; raises ValueError for those that do not fit,
            beginning with ``embedder.<key>: `` where one is to blame.
        recipe: from resolved settings to all that decides the numbers besides image, weights and version, as JSON
            values; by default all settings. A ``precision`` in it, ``float16`` or ``float32``, says what embeddings may
            be kept in; else that is measured.
        default_hub: from resolved settings to the hub id of the weights that are taken when none are named.
        hub_files: what weights are called in a repository of the Hugging Face hub.
        needs: modules that have to be installed to make one.
        extra: the extra of this package that brings them.
    """

    implementation: str
    version: int
    settings: type[EmbedderSettings] = EmbedderSettings
    reads: tuple[str, ...] = ()
    resolve: Callable[[Any], Any] = _as_given
    recipe: Callable[[Any], Mapping[str, Any]] = _all_settings
    default_hub: Callable[[Any], str | None] = _no_hub
    hub_files: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    extra: str = "torch"

    def resolved(self, given: EmbedderSettings) -> EmbedderSettings:
        """The settings with every default filled in.

        Args:
            given: as a project file has them.

        Returns:
            A copy, as this embedder's own model.

        Raises:
            ValueError: a key that this embedder does not read, or a value that does not fit.
        """
        settings = given
        if not isinstance(given, self.settings):
            settings = self.settings.model_validate(given.model_dump(exclude_unset=True))
        for key, field in EmbedderSettings.model_fields.items():
            if key not in ("name", *self.reads) and getattr(settings, key) != field.default:
                raise ValueError(f"embedder.{key}: {given.name} has no {key}; leave the key out")
        return cast(EmbedderSettings, self.resolve(settings))

    def create(self, settings: EmbedderSettings, weights: Path | None, device: str) -> PatchEmbedder:
        """Make the embedder.

        Args:
            settings: resolved.
            weights: its weight file; None where it has none.
            device: where a network runs: ``auto``, ``cpu``, ``cuda``, ...

        Returns:
            What ``implementation`` gives for these.

        Raises:
            ImportError: what makes it cannot be imported; says why.
        """
        try:
            make = pkgutil.resolve_name(self.implementation)
        except Exception as error:  # whatever a module raises while it is imported
            raise ImportError(
                f"embedder {settings.name}: {self.implementation} cannot be imported: "
                f"{type(error).__name__}: {error}"
            ) from error
        return cast("PatchEmbedder", make(settings, weights, device))
