"""Weights from files: reading, names of other libraries, remapping onto another network.

reading            torch files -> tensors
loading            files and folders -> state dicts that fit a network
torchvision_names  torchvision's parameter names
settings           batch-norm epsilon and padding that weights were trained with
remap              weights of one network adapted to another
correspondence     pairs of layers and channels of two networks
"""
