"""Exporters: write an architecture with its weights in a format.

base           `Exporter` and `Origin`
comparison     the check that every written file computes the network's function
weights        weights -> network, network -> safetensors
provenance     the origin of a network, read from folders
json_file, onnx_file, torch_program, model_py, timm, torchvision   the formats
"""
