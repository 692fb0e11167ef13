"""Layers that train faster on CPUs, with the same results up to rounding.

layers     replaces the layers of a network
depthwise  depthwise convolutions with faster gradients
"""
