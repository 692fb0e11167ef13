"""torchvision's format."""
