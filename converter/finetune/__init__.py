"""Fine-tuning on the host, with PyTorch: prune to a pattern while training goes on.

    read -> simplify, share out the budget, rearrange (``prune.prepare``)
         -> network (``graph``) -> train (``loop``), cutting on the way (``schedule``),
            taught by the dense network (``distil``) -> the same graph with new weights

``graph`` runs a graph in PyTorch, ``operators`` and ``windows`` know its operators; ``checkpoint``
keeps a run that was stopped. PyTorch is imported only when ``finetune`` is called.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from filigree.converter.errors import ToolMissing
from filigree.converter.finetune.options import Distil, Epoch, Files, Finetuned, FinetuneOptions

if TYPE_CHECKING:
    from filigree.converter.calibration import Data

__all__ = ["Distil", "Epoch", "Files", "FinetuneOptions", "Finetuned", "finetune", "require_torch"]

PIP = 'pip install "filigree[train]"'


def finetune(
    source: Path,
    options: FinetuneOptions,
    *,
    data: Data,
    test: Data,
    files: Files | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Finetuned:
    """Train the ONNX model at ``source`` on ``data`` while it is cut to the options' pattern.

    ``test`` is judged by after every epoch, and decides nothing. The result is a function of the
    model, the options and the data, whether it came in one run or was stopped and resumed.
    Raises ToolMissing without PyTorch, and what ``prune.prepare`` raises.
    """
    require_torch()
    from filigree.converter.finetune.job import run

    quiet = progress or (lambda stage, fraction: None)
    return run(source, options, data=data, test=test, files=files or Files(), progress=quiet)


def require_torch() -> None:
    """Raises ToolMissing, with how to get it, where PyTorch cannot be imported."""
    try:
        import torch  # noqa: F401  the import is the question
    except (ImportError, OSError) as error:  # OSError: a library of its own is missing
        missing = isinstance(error, ModuleNotFoundError) and error.name == "torch"
        why = "is not installed" if missing else "is installed but cannot be imported"
        lines = [] if missing else (str(error).splitlines()[:1] or [type(error).__name__])
        raise ToolMissing(f"PyTorch, which fine-tuning needs, {why}", lines, hint=PIP) from error
