"""filigree: group-sparse models on edge devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from filigree.native.model import BadFile, Model, load

__all__ = ["BadFile", "Model", "load"]


def __getattr__(name: str) -> Any:
    """Load the runtime on first use: the command line's ``--help`` needs neither it nor numpy."""
    if name not in __all__:
        raise AttributeError(f"module 'filigree' has no attribute {name!r}")
    from filigree.native import model

    return getattr(model, name)
