"""Data, recipes, and one plain training loop."""
