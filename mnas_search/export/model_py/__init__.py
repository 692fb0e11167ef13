"""`model.py`: a self-contained PyTorch module as source code."""
