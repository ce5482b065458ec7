"""``pos_embed: hub`` against the formula of bicubic interpolation, written out."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="position embeddings are torch (torch extra)")


def cubic_weights(n_out, n_in, scale):
    """``(n_out, n_in)``: cubic convolution (Keys 1981, a = -0.75), border replicated, sampled at
    ``(i + .5) / scale - .5``."""
    a = -0.75
    weights = np.zeros((n_out, n_in))
    for i in range(n_out):
        at = (i + 0.5) / scale - 0.5
        for tap in range(int(np.floor(at)) - 1, int(np.floor(at)) + 3):
            x = abs(at - tap)
            near = (a + 2) * x**3 - (a + 3) * x**2 + 1
            far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
            weights[i, min(max(tap, 0), n_in - 1)] += near if x <= 1 else far
    return weights


@pytest.mark.parametrize("size", [(32, 32), (32, 53), (5, 7), (37, 40), (16, 16)])
def test_hub_positions_are_the_offset_scale_factor_interpolation(size):
    from uad_orchestrator.embedders.position_embedding import hub_positions

    trained = np.random.default_rng(0).normal(size=(37, 37, 6))
    rows = cubic_weights(size[0], 37, (size[0] + 0.1) / 37)
    columns = cubic_weights(size[1], 37, (size[1] + 0.1) / 37)
    expected = np.einsum("im,jn,mnd->ijd", rows, columns, trained)
    own = hub_positions(torch.from_numpy(trained).float(), size).numpy()
    assert own.shape == (*size, 6)
    assert np.allclose(own, expected, atol=2e-4)


def test_the_trained_size_is_left_alone():
    from uad_orchestrator.embedders.position_embedding import hub_positions

    trained = torch.rand(37, 37, 4)
    assert hub_positions(trained, (37, 37)) is trained


def vit(**options):
    import timm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return timm.create_model(
            "vit_tiny_patch16_224",
            num_classes=0,
            dynamic_img_size=True,
            embed_dim=48,
            depth=2,
            num_heads=2,
            **options,
        ).eval()


def tokens(model, image):
    with torch.inference_mode():
        return model.forward_intermediates(
            image, indices=[-1], norm=True, output_fmt="NLC", intermediates_only=True
        )[0]


def test_hub_and_timm_agree_at_the_trained_size_and_differ_elsewhere():
    from uad_orchestrator.embedders.position_embedding import use_hub_positions

    plain, hub = vit(), vit()
    with torch.no_grad():
        plain.pos_embed.normal_(std=1.0, generator=torch.Generator().manual_seed(2))
        hub.pos_embed.copy_(plain.pos_embed)
    use_hub_positions(hub)
    generator = torch.Generator().manual_seed(1)
    trained, other = (
        torch.rand(1, 3, 224, 224, generator=generator),
        torch.rand(1, 3, 128, 192, generator=generator),
    )
    assert torch.allclose(tokens(plain, trained), tokens(hub, trained), atol=1e-5)
    assert (tokens(plain, other) - tokens(hub, other)).abs().max() > 1e-2


def test_register_models_keep_timms_antialiased_resampling_as_dinov2_has_it():
    from uad_orchestrator.embedders.position_embedding import use_hub_positions

    plain, hub = vit(reg_tokens=4), vit(reg_tokens=4)
    use_hub_positions(hub)
    image = torch.rand(1, 3, 128, 192)
    assert torch.equal(tokens(plain, image), tokens(hub, image))


def test_models_without_class_token_positions_are_refused():
    from uad_orchestrator.embedders.position_embedding import use_hub_positions

    with pytest.raises(ValueError, match="pos_embed"):
        use_hub_positions(vit(no_embed_class=True))
