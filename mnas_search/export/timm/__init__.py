"""timm's and Hugging Face's formats."""
