"""`model.py`: a self-contained PyTorch module as source code.

pytorch        the exporter
model_source   the text of the file
source         the source of the block modules and of everything they use
prune_source   the same source without what one network does not need
"""
