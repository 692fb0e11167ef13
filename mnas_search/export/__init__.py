"""Exporters: an architecture with its weights, written in some format."""
