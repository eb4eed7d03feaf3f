"""filigree: group-sparse models on edge devices."""

from __future__ import annotations

from filigree.native.model import Model, load

__all__ = ["Model", "load"]
