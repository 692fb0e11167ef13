"""The random weights that a network starts from."""

from torch import Tensor, nn

# EfficientNet's classifier, for which the paper's rule was made.
_INPUTS, _CLASSES = 1280, 1000


def initialise(network: nn.Module, classifier: nn.Module) -> None:
    """Initialise a network like TensorFlow's EfficientNet (efficientnet_model.py), in place.

    Convolutions N(0, 2 / fan_out) with fan_out = k^2 * out / groups, their biases 0; linear layers
    U(-1, 1) / sqrt(out), biases 0; batch norm keeps torch's ones and zeros. `classifier`, a layer
    of the network, is drawn from U(-1, 1) times its `classifier_bound`.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            initialise_convolution(module.weight, module.groups)
        elif isinstance(module, nn.Linear):
            bound = module.out_features**-0.5
            if module is classifier:
                bound = classifier_bound(module.in_features, module.out_features)
            nn.init.uniform_(module.weight, -bound, bound)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def initialise_convolution(weight: Tensor, groups: int) -> None:
    """Draw a weight [out, in / groups, K, K] from N(0, 2 / fan_out), in place."""
    fan_out = weight.shape[2] * weight.shape[3] * weight.shape[0] // groups
    nn.init.normal_(weight, 0.0, (2.0 / fan_out) ** 0.5)


def classifier_bound(inputs: int, classes: int) -> float:
    """Compute the largest initial weight of a classifier.

    A network starts at the loss of chance, ln(classes), if its first logits are small. Weights
    from U(-b, b) make logits of variance b^2 * inputs * m / 3, where m is the mean square of the
    pooled features (0.4 to 0.6 behind a batch norm and an activation, 2 to 4 behind the sums of
    ResNets), and the first loss exceeds ln(classes) by up to half of that variance. The paper's
    b = 1 / sqrt(classes) keeps it small for 1,000 classes and 1,280 inputs; with 3 classes
    EfficientNet-B0 starts at a loss of 5. Here, b^2 * inputs is at most what it is there, and
    falls with the classes below 1,000:

        b^2 = min(1 / classes, min(1, classes / 1000) * 1280 / (1000 * inputs))

    From 1,000 classes on, networks of at most 1,280 inputs start as in the paper.
    """
    share = min(1.0, classes / _CLASSES)
    squared = min(1 / classes, share * _INPUTS / (_CLASSES * inputs))
    return float(squared**0.5)
