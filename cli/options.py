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


def command(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """The decorator of every command."""
    return click.command(name, cls=Command)


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document instead of text."
)
force_option = click.option("--force", is_flag=True, help="Overwrite existing outputs.")
report_option = click.option(
    "--report", type=click.Path(path_type=Path), help="Also write a self-contained HTML page."
)


class Numbers(click.ParamType):
    """``127.5`` or ``123.7,116.3,103.5``: a tuple of floats."""

    name = "numbers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a number or a comma-separated list of numbers", param, ctx)


class Size(click.ParamType):
    """``262144``, ``256KiB`` or ``256KB``: bytes."""

    name = "size"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"([0-9]+)\s*([A-Za-z]*)", str(value))
        if not match or match[2].upper() not in UNITS:
            self.fail(f"{value!r} is not a size such as 262144, 256KB or 256KiB", param, ctx)
        return int(match[1]) * UNITS[match[2].upper()]


class Dims(click.ParamType):
    """``96x96`` or ``1x3x96x96``: a tuple of positive integers."""

    name = "dims"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        if not re.fullmatch(r"[1-9][0-9]{0,8}(x[1-9][0-9]{0,8})*", str(value)):
            self.fail(f"{value!r} is not a shape such as 1x3x96x96", param, ctx)
        return tuple(int(dim) for dim in str(value).split("x"))


class NamedDims(click.ParamType):
    """``input=1x3x96x96``: an input's name and shape."""

    name = "name=dims"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, tuple[int, ...]]:
        if isinstance(value, tuple):
            return value
        name, equals, dims = str(value).rpartition("=")
        if not equals or not name:
            self.fail(f"{value!r} is not NAME=SHAPE, such as input=1x3x96x96", param, ctx)
        return name, Dims().convert(dims, param, ctx)


class Names(click.ParamType):
    """``host,arm64``: a tuple of names without blanks."""

    name = "names"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        names = tuple(part.strip() for part in str(value).split(",") if part.strip())
        return names or self.fail("the list is empty", param, ctx)
