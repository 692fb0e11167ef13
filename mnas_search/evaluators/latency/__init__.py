"""Latency, measured: devices, the stopwatch, tables of a space's parts.

devices      how a network runs: eager, compiled, by ONNX Runtime, on a GPU
stopwatch    how long, in turns with a reference network
space_parts  the parts of a search space
building     the table of a search space
measuring    whole networks
checking     predicted and measured, side by side
profiler     the plug-in `latency`
"""
