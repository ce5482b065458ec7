"""Keeps anomalib from fetching weights and data when a model is built."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def nothing_fetched() -> Iterator[None]:
    """While this lasts, the ways by which anomalib fetches weights and data are shut; caches are read.

    What would have to be fetched is an OSError.
    """
    import urllib.request

    import anomalib.data.utils.download as anomalib_download
    import huggingface_hub.constants as hub
    import torch.hub

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OSError(f"{args[0] if args else 'a file'} would have to be fetched")

    with (
        _replaced(hub, "HF_HUB_OFFLINE", True),
        _replaced(torch.hub, "download_url_to_file", refuse),
        _replaced(urllib.request, "urlretrieve", refuse),
        _replaced(anomalib_download, "urlretrieve", refuse),
    ):
        yield


@contextmanager
def weights_come_later() -> Iterator[None]:
    """While this lasts, backbones are built without weights: a checkpoint that is read afterwards has them.

    Not every model of anomalib has an argument for it.
    """
    import timm

    create = timm.create_model

    def without_weights(*args: Any, **options: Any) -> Any:
        return create(*args, **{**options, "pretrained": False})

    with nothing_fetched(), _replaced(timm, "create_model", without_weights):
        yield


@contextmanager
def _replaced(place: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(place, name)
    setattr(place, name, value)
    try:
        yield
    finally:
        setattr(place, name, before)
