import copy

import pytest

torch = pytest.importorskip("torch", reason="needs the extra torch")

from torch import nn  # noqa: E402

from uad_orchestrator.embedders.cnn import cnn_network  # noqa: E402


class Stem(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 7, 2, 3)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.deeper = nn.Conv2d(16, 24, 3, 2, 1)

    def forward(self, batch):
        first = self.pool(self.conv(batch))
        return {"first": first, "deeper": self.deeper(first)}


def test_max_pooling_over_channels_changes_no_bit():
    torch.manual_seed(0)
    plain = Stem().eval()
    network = cnn_network(copy.deepcopy(plain), ("first", "deeper"), 32, "cpu")
    seen = []
    network.extractor.pool.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    for size in ((2, 3, 96, 130), (1, 3, 64, 64)):
        batch = torch.randn(size)
        batch[0, 0, :9] = -torch.inf
        with torch.inference_mode():
            features, expected = network.extractor(batch), plain(batch)
        assert all(
            torch.equal(features[name].nan_to_num(7), expected[name].nan_to_num(7)) for name in expected
        )
        assert all(one.is_contiguous() for one in features.values())
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in seen)
