"""Latency of networks as they are, and as they are exported.

table_4   EfficientNet-B1 against ResNet-152: `mnas-search bench latency`
exports   exports beside those of other libraries: `mnas-search bench exports`
"""
