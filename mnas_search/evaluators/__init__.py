"""Evaluators: architecture -> accuracy."""
