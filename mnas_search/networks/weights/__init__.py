"""Weights from files: reading, names of other libraries, mapping onto another network.

reading            files and training folders -> named tensors
loading            whose weights fit a network, and under which names
torchvision_names  torchvision's names for ours
settings           batch-norm epsilon and padding that the weights were trained with
remap              weights of one network fitted onto another
correspondence     which layer of one network stands for which of the other
"""
