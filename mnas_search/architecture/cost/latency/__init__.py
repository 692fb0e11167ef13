"""Latency predicted from a table of a network's parts.

    conditions   device, threads, batch size
    parts        stem, blocks and head: their keys and their work
    table        seconds of parts -> seconds of any network

Latency is the time of one forward pass in fp32, from images in memory to logits in memory, in
seconds, under recorded `Conditions`. `evaluators/latency` measures it.
"""

from mnas_search.architecture.cost.latency.conditions import DEVICES, Conditions
from mnas_search.architecture.cost.latency.table import LatencyTable, Prediction

__all__ = ["DEVICES", "Conditions", "LatencyTable", "Prediction"]
