"""Latency, measured: devices, the stopwatch, tables of a space's parts.

devices    how a network runs: eager, compiled, by ONNX Runtime, on a GPU
stopwatch  how long, in turns with a reference network
building   the table of a search space: its parts, timed
measuring  whole networks, and a check of what a table predicts
profiler   the plug-in `latency`
"""
