"""Weights under the names of DINOv2's own repository."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the networks are torch's (torch extra)")

from tests.embedders.test_position_embedding import tokens, vit  # noqa: E402 - after the skip
from uad_orchestrator.embedders.timm.vit import with_timm_names  # noqa: E402
from uad_orchestrator.embedders.weights import load_weights  # noqa: E402


def facebook_names(model, *, swiglu: bool = False) -> dict[str, torch.Tensor]:
    """The same weights as DINOv2's repository stores them: dinov2/models/vision_transformer.py."""
    stored = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    cls_position = torch.rand(1, 1, stored["cls_token"].shape[-1])
    stored["register_tokens"] = stored.pop("reg_token")
    stored["cls_token"] -= cls_position
    stored["pos_embed"] = torch.cat([cls_position, stored["pos_embed"]], dim=1)
    if swiglu:
        stored = {n.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3"): t for n, t in stored.items()}
    return stored


@pytest.mark.parametrize("with_mask_token", [True, False])
@pytest.mark.parametrize("swiglu", [True, False])
def test_register_weights_of_dinov2s_repository_load(with_mask_token: bool, swiglu: bool):
    trained, empty = (vit(reg_tokens=4, no_embed_class=True) for _ in range(2))
    stored = facebook_names(trained, swiglu=swiglu)
    if with_mask_token:
        stored["mask_token"] = torch.zeros(1, stored["cls_token"].shape[-1])
    load_weights(empty, with_timm_names(stored, empty), Path("dinov2_vits14_reg4_pretrain.pth"), "vit")
    image = torch.rand(1, 3, 224, 224)
    assert torch.allclose(tokens(trained, image), tokens(empty, image), atol=1e-5)


def test_other_weights_keep_their_names():
    stored = vit().state_dict()
    assert with_timm_names(stored, None) is stored
