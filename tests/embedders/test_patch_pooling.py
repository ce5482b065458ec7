"""PatchCore's pooling, folded, against the official code's plain steps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uad_orchestrator.embedders.patch_pooling import adaptive_pool_matrix, fold_patch_pooling

torch = pytest.importorskip("torch", reason="the oracle is torch (torch extra)")


@given(st.integers(1, 400), st.integers(1, 400))
def test_the_matrix_is_torchs_adaptive_average(n_in, n_out):
    values = torch.rand(1, n_in, dtype=torch.float64)
    expected = torch.nn.functional.adaptive_avg_pool1d(values, n_out)[0].numpy()
    assert np.allclose(adaptive_pool_matrix(n_in, n_out) @ values[0].numpy(), expected)


def official_embedding(features, dimension):
    """patchcore-inspection's ``_embed`` with its PatchMaker, MeanMapper and Aggregator, step by step."""
    from torch.nn import functional

    patches, shapes = [], []
    for feature in features:
        unfolded = torch.nn.Unfold(kernel_size=3, stride=1, padding=1)(feature)
        batch, channels = feature.shape[:2]
        patches.append(unfolded.reshape(batch, channels, 3, 3, -1).permute(0, 4, 1, 2, 3))
        shapes.append(feature.shape[-2:])
    for i in range(1, len(patches)):
        grid = (
            patches[i]
            .reshape(patches[i].shape[0], *shapes[i], *patches[i].shape[2:])
            .permute(0, 3, 4, 5, 1, 2)
        )
        base = grid.shape
        flat = grid.reshape(-1, *base[-2:])
        flat = functional.interpolate(flat.unsqueeze(1), size=shapes[0], mode="bilinear", align_corners=False)
        grid = flat.squeeze(1).reshape(*base[:-2], *shapes[0]).permute(0, 4, 5, 1, 2, 3)
        patches[i] = grid.reshape(len(grid), -1, *grid.shape[-3:])
    rows = [p.reshape(-1, *p.shape[-3:]) for p in patches]
    pooled = [functional.adaptive_avg_pool1d(r.reshape(len(r), 1, -1), dimension).squeeze(1) for r in rows]
    stacked = torch.stack(pooled, dim=1)
    return functional.adaptive_avg_pool1d(stacked.reshape(len(stacked), 1, -1), dimension).squeeze(1)


@settings(max_examples=20)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=3),
    st.integers(1, 90),
    st.integers(3, 9),
    st.integers(3, 9),
)
def test_the_fold_is_the_official_embedding_for_any_shape(channels, dimension, height, width):
    from uad_orchestrator.embedders.cnn import pool_patches

    generator = torch.Generator().manual_seed(0)
    features = [
        torch.randn(2, count, -(-height // 2**i), -(-width // 2**i), generator=generator)
        for i, count in enumerate(channels)
    ]
    kernels = [
        (k.first, torch.from_numpy(k.weight), k.groups) for k in fold_patch_pooling(channels, dimension)
    ]
    own = pool_patches(features, kernels, dimension).permute(0, 2, 3, 1).reshape(-1, dimension)
    assert torch.allclose(own, official_embedding(features, dimension), atol=1e-5)


@pytest.mark.parametrize("channels", [(128, 256), (512, 1024), (32, 96)])
def test_the_fold_is_the_official_embedding_at_the_papers_sizes(channels):
    from uad_orchestrator.embedders.cnn import pool_patches

    generator = torch.Generator().manual_seed(1)
    features = [torch.randn(1, c, 8 >> i, 8 >> i, generator=generator) for i, c in enumerate(channels)]
    folded = fold_patch_pooling(channels, 1024)
    kernels = [(k.first, torch.from_numpy(k.weight), k.groups) for k in folded]
    own = pool_patches(features, kernels, 1024).permute(0, 2, 3, 1).reshape(-1, 1024)
    assert torch.allclose(own, official_embedding(features, 1024), atol=1e-5)


def test_the_kernels_are_grouped_where_channels_do_not_mix():
    assert [kernel.groups for kernel in fold_patch_pooling((512, 1024), 1024)] == [512, 512]
    assert [kernel.groups for kernel in fold_patch_pooling((128, 256), 1024)] == [128, 256]
