"""The comparisons behind outlier weights, with torch on a device: what ``outlier_weights`` has for the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from uad_orchestrator.memory.device import to_tensor


def location_neighbours(at: np.ndarray, k: int, views: int, device: str) -> tuple[np.ndarray, np.ndarray]:
    """Distances and row numbers of the ``k`` nearest other images, both ``(locations, rows, k)``, in no order.

    Args:
        at: ``(locations, rows, p)`` float64.
        k: neighbours.
        views: of every image, side by side.
        device: one of torch's, with float64.
    """
    import torch

    points = to_tensor(at, device)
    squares = torch.einsum("lip,lip->li", points, points)
    squared = torch.baddbmm(squares[:, None], points, points.mT, alpha=-2).add_(squares[:, :, None])
    own = torch.arange(points.shape[1], device=points.device) // views
    squared.masked_fill_(own[:, None] == own, torch.inf)
    nearest, view = squared.unflatten(2, (-1, views)).min(dim=3)
    images = nearest.topk(k, dim=2, largest=False, sorted=False).indices
    neighbours = images * views + view.gather(2, images)
    distances = torch.stack([_apart(points, neighbours[..., column]) for column in range(k)], dim=2)
    return distances.cpu().numpy(), neighbours.cpu().numpy()


def _apart(points: Any, neighbours: Any) -> Any:
    """``(locations, rows)`` how far each row lies from another one at its location."""
    import torch

    others = points.gather(1, neighbours[..., None].expand(points.shape))
    return torch.linalg.vector_norm(points - others, dim=2)


def mahalanobis(at: np.ndarray, ridge: float, device: str) -> np.ndarray:
    """``(locations, rows)`` distances of ``(locations, rows, p)`` float64, centred, from the centre.

    Args:
        at: the points.
        ridge: added to the diagonal of each location's covariance.
        device: one of torch's, with float64.
    """
    import torch

    points = to_tensor(at, device)
    covariance = points.mT @ points / (points.shape[1] - 1)
    covariance.diagonal(dim1=1, dim2=2).add_(ridge)
    whitened = torch.linalg.solve(covariance, points.mT).mT
    return torch.einsum("lip,lip->li", points, whitened).sqrt_().cpu().numpy()


def nearest_of_images(
    queries: np.ndarray, own: np.ndarray, references: np.ndarray, spans: np.ndarray, k: int, device: str
) -> tuple[np.ndarray, np.ndarray]:
    """Distances (ascending, float64) and reference numbers, ``(n, k)``: the nearest reference of each of ``k`` images.

    Args:
        queries: ``(n, p)`` float32.
        own: ``(n,)`` the image of each query, which is passed over.
        references: ``(r, p)`` float32, image by image.
        spans: ``(images + 1,)`` where each image's references begin.
        k: images.
        device: one of torch's.
    """
    import torch

    asked, rows = to_tensor(queries, device), to_tensor(references, device)
    minus_half_squares = torch.einsum("rp,rp->r", rows, rows) / -2
    similarity = torch.addmm(minus_half_squares, asked, rows.T)
    present = np.flatnonzero(np.diff(spans))
    best = [similarity[:, spans[image] : spans[image + 1]].max(dim=1) for image in present]
    closeness = torch.stack([values for values, _ in best], dim=1)
    nearest = torch.stack([where for _, where in best], dim=1) + to_tensor(spans[present], device)
    is_own = to_tensor(own, device)[:, None] == to_tensor(present, device)
    closeness.masked_fill_(is_own, -torch.inf)
    neighbours = nearest.gather(1, closeness.topk(k, dim=1).indices)
    distances = torch.linalg.vector_norm(asked[:, None] - rows[neighbours], dim=2)
    distances, order = distances.sort(dim=1, stable=True)
    return distances.cpu().double().numpy(), neighbours.gather(1, order).cpu().numpy()
