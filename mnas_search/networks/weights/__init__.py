"""Weights from files: reading, names of other libraries, remapping onto another network.

reading            torch and safetensors files -> state dicts
sources            files, folders, `package:NAME`, `hf:ORG/NAME` -> files
loading            state dicts that fit a network; the network that one belongs to
torchvision_names  torchvision's parameter names
settings           batch-norm epsilon and padding that weights were trained with
pretrained         weights with the architecture that they belong to
remap              weights of one network adapted to another
correspondence     pairs of layers and channels of two networks
"""
