"""Layers that train faster on CPUs and GPUs with the same results.

layers     replaces the layers of a network
depthwise  depthwise convolutions with faster gradients
"""
