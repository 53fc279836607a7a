"""Martlet: run, inspect and make `.tflite` models, with NumPy as the only requirement."""

from __future__ import annotations

__version__ = "0.1.0"
