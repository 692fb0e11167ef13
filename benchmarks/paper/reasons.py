"""Why a figure is not computed here, or differs from the printed one."""

ROUNDING = "rounding: the figure here, rounded as the printed one, is the printed one"
FROM_PRINTED = "the paper's ratio follows from its own figures, within their rounding"
NO_RATIO = "not the ratio of the paper's own figures"
NOT_PRINTED = "the paper prints none"
NOT_TRAINED = "an accuracy: nothing is trained here"
NOT_BUILT = "another work's network: not built here"
NOT_TIMED = "a time: `mnas-search bench latency` takes some of them on this machine"
RELEASED = (
    "the released code's network has the figure here, its params as in timm and torchvision, its "
    "FLOPs as fvcore and torch count it; the paper does not say how it counted"
)
PARAMS = "the released code's network has the figure here, in timm and torchvision too"
RESNET_152 = (
    "counted with the stride in the 3x3 convolution, as libraries build it today; in the first "
    "1x1, as first published, it is 11.3B. The paper's 4.1B for ResNet-50 is of the former kind"
)
TRUNCATED = (
    "less than the network has even without its classifier, to which the paper's other "
    "EfficientNets in this table are rounded"
)
GAIN = "read from Figure 8, whose points are not printed; the figure here is Table 7's"
UPWARDS = "alpha * beta^2 * gamma^2 is 1.92, and channels and repeats are rounded, mostly up"
NOT_POWERS = "the released coefficients are no powers of alpha, beta, gamma"
