"""Architectures as data."""
