"""Networks that are not chains of stages: tiny vision transformers, really trained on digits.

    mnas-search run --target-flops 1M --trials 6 \
        --space examples/my_vit.py:TinyViTs --evaluator examples/my_vit.py:train

`build` makes the module; its cost is counted by torch on the meta device; `key` says which
networks are equal.
"""

import torch
from torch import nn
from torch.nn import functional as F

from mnas_search import Decision, SearchSpace, TracedNetwork, load_dataset


class TinyViT(nn.Module):
    """A vision transformer over 2x2 patches of 8x8 images."""

    def __init__(self, width, depth):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 2, stride=2)
        self.position = nn.Parameter(torch.zeros(1, 16, width))
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.classifier = nn.Linear(width, 10)

    def forward(self, images):
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.position
        return self.classifier(self.encoder(tokens).mean(1))


class TinyViTs(SearchSpace):
    """Width and depth."""

    decisions = (
        Decision(name="width", options=(16, 32, 48)),
        Decision(name="depth", options=(1, 2, 3)),
    )

    def decode(self, choices):
        width, depth = choices["width"], choices["depth"]
        return TracedNetwork(
            build=lambda: TinyViT(width, depth), key=f"vit-w{width}-d{depth}", resolution=8
        )


def train(network, *, seed):
    """Return the validation accuracy after 60 steps of Adam."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    data = load_dataset("digits", side=8)
    images, labels = (torch.from_numpy(a) for a in (data.train.images, data.train.labels))
    module = network.build()
    optimiser = torch.optim.Adam(module.parameters(), lr=3e-3)
    for _ in range(60):
        batch = torch.randint(0, len(labels), (128,))
        loss = F.cross_entropy(module(floats(images[batch])), labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    held_out = torch.from_numpy(data.validation.images)
    with torch.no_grad():
        right = module(floats(held_out)).argmax(1).numpy() == data.validation.labels
    return right.mean()


def floats(images):
    """Convert uint8 [N, H, W, 3] to floats [N, 3, H, W] around zero."""
    return images.permute(0, 3, 1, 2).float() / 128 - 1
