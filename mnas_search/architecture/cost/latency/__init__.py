"""Latency: measured beside a reference, and predicted from a table of a network's parts.

    conditions   device, threads, batch
    devices      how a network runs there: eager, compiled, by ONNX Runtime, on a GPU
    stopwatch    how long, in turns with a reference network
    parts        stem, blocks and head: their keys, their work; space_parts: those of a space
    table        seconds of parts -> seconds of any network
    building     the table of a search space
    measuring    whole networks
    checking     predicted and measured, side by side
    runs         latency in a run: its table, its winners

Latency is the seconds of one forward pass in fp32, images in memory to logits in memory, under
`Conditions` that are written down with it.
"""

from mnas_search.architecture.cost.latency.conditions import DEVICES, Conditions
from mnas_search.architecture.cost.latency.table import LatencyTable, Prediction

__all__ = ["DEVICES", "Conditions", "LatencyTable", "Prediction"]
