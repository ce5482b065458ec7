"""CNNs and vision transformers of timm."""
