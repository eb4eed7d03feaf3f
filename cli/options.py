"""Options that several commands share, and the parsing of their values."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from filigree.cli.console import console

UNITS = {"": 1, "B": 1, "KB": 1000, "MB": 1000**2, "KIB": 1024, "MIB": 1024**2}


class Command(click.Command):
    """A command that also takes ``--debug``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(
                ["--debug"],
                is_flag=True,
                expose_value=False,
                callback=_set_debug,
                help="Show the traceback of an unexpected error.",
            )
        )


def _set_debug(_ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    console.debug = console.debug or value


def register(name: str, summary: str) -> Callable[[Callable[..., Any]], click.Command]:
    """The decorator of every command; ``summary`` is its line in ``filigree --help``."""
    return click.command(name, cls=Command, short_help=summary)


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document instead of text."
)
force_option = click.option("--force", is_flag=True, help="Overwrite existing outputs.")
report_option = click.option(
    "--report", type=click.Path(path_type=Path), help="Also write a self-contained HTML page."
)


def numbers(text: str) -> tuple[float, ...]:
    """``127.5`` or ``123.7,116.3,103.5``."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        problem = f"{text!r} is not a number or a comma-separated list of numbers"
        raise click.BadParameter(problem) from error


def byte_size(text: str) -> int:
    """``262144``, ``256KiB`` or ``256KB``."""
    match = re.fullmatch(r"([0-9]+)\s*([A-Za-z]*)", text)
    if not match or match[2].upper() not in UNITS:
        raise click.BadParameter(f"{text!r} is not a size such as 262144, 256KB or 256KiB")
    return int(match[1]) * UNITS[match[2].upper()]


def dims(text: str) -> tuple[int, ...]:
    """``96x96`` or ``1x3x96x96``."""
    if not re.fullmatch(r"[1-9][0-9]{0,8}(x[1-9][0-9]{0,8})*", text):
        raise click.BadParameter(f"{text!r} is not a shape such as 1x3x96x96")
    return tuple(int(dim) for dim in text.split("x"))


def named_dims(text: str) -> tuple[str, tuple[int, ...]]:
    """``input=1x3x96x96``: an input's name and shape."""
    name, equals, shape = text.rpartition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text!r} is not NAME=SHAPE, such as input=1x3x96x96")
    return name, dims(shape)


def names(text: str) -> tuple[str, ...]:
    """``host,arm64``: names without blanks."""
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    if not found:
        raise click.BadParameter("the list is empty")
    return found


external_data_option = click.option(
    "--external-data", is_flag=True, help="Read weights that the model keeps in files beside it."
)
effort_option = click.option(
    "--effort",
    type=click.FloatRange(0, 100),
    default=1.0,
    show_default=True,
    help="How long to look for the best order of channels; 1 is seconds for a MobileNet.",
)
mean_option = click.option(
    "--mean",
    type=numbers,
    metavar="NUMBER,...",
    help="Pixel mean: value = (pixel - mean) / scale.",
)
scale_option = click.option(
    "--scale",
    type=numbers,
    metavar="NUMBER,...",
    help="Pixel scale, one value or one per channel.",
)
sparsity_option = click.option(
    "--sparsity", type=float, default=0.8, show_default=True, help="Share to cut, in [0, 1)."
)
layer_option = click.option(
    "--layer",
    "layers",
    multiple=True,
    metavar="NAME=0.5|4x1|0.5:4x1|dense",
    help="Something else for one layer.",
)
label_offset_option = click.option(
    "--label-offset", type=int, default=0, show_default=True, help="Added to every label."
)
threads_option = click.option(
    "--threads",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="How many threads a run uses; the numbers stay the same, bit for bit.",
)
no_rearrange_option = click.option(
    "--no-rearrange", is_flag=True, help="Leave channels in their order."
)
seed_option = click.option("--seed", type=int, default=0, show_default=True)
