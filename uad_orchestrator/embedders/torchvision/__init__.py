"""CNNs of torchvision."""
