"""`npconv summary`: what each layer of a network costs, and the totals as the papers count them."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from npconv import files
from npconv.cli.console import print_table, table_console
from npconv.cli.errors import one_line
from npconv.cli.output import AsJson, OutFile, write_json
from npconv.cli.words import completion
from npconv.costs import Cost, LayerCost, ModelCost
from npconv.geometry import one_of
from npconv.models import NETWORKS
from npconv.papers import COUNTS
from npconv.papers.walks import Walk
from npconv.training.options import parse_options, parse_size

FLOAT32 = 4  # bytes
SPARE = (
    "groups",
    "output KiB",
    "FLOPs/byte",
    "share",
    "kind",
    "parameters",
    "output",
)  # for narrow windows, the first first


def summary(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help=f"The network: {', '.join(sorted(NETWORKS))}.",
            autocompletion=completion(sorted(NETWORKS)),
        ),
    ],
    width: Annotated[float | None, typer.Option(help="Short for --option width=...: the width multiplier.")] = None,
    groups: Annotated[int | None, typer.Option(help="Short for --option groups=...")] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Short for --option alpha=...: the share of low frequency.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-O", metavar="NAME=VALUE", help="Any option of the network; repeatable."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="PIXELS", help="Of the image, as 224 or 49x10.", show_default="what the network is for"),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="List also the layers without multiply-accumulates.")] = False,
    as_json: AsJson = False,
    out: OutFile = None,
) -> None:
    """Print what each layer of a network costs for one image, and the totals as the papers count them."""
    with one_line(ValueError, TypeError, OSError):
        options = parse_options(option or (), width=width, groups=groups, alpha=alpha)
        files.check_target("--out", out)
        walk = Walk.of(one_of("MODEL", model, sorted(NETWORKS)), None if size is None else parse_size(size), **options)
        cost = walk.cost()
        write_json(_described(walk, cost), as_json, out)
    if as_json:
        return
    console = table_console()
    settings = "".join(f", {name}={value!r}" for name, value in walk.options)
    console.print(f"{walk.network}{settings}, one image of {walk.size[0]}x{walk.size[1]} pixels")
    print_table(console, _layers(cost, every), spare=SPARE)
    console.print(_totals(cost))


def _layers(cost: ModelCost, every: bool) -> Table:
    """A row for each layer; without `every`, those that have no multiply-accumulates share one."""
    table = Table("layer", "kind", "output", box=None, pad_edge=False)
    for heading in ("parameters", "MACs", "share", "groups", "FLOPs/byte", "output KiB"):
        table.add_column(heading, justify="right")
    others = []
    for layer in cost.layers:
        if not (every or layer.cost.macs):
            others.append(layer)
            continue
        shapes = " + ".join("x".join(map(str, shape[1:])) for shape in layer.out_shapes)
        table.add_row(layer.layer, layer.kind, shapes, *_numbers(cost, layer.cost, layer.groups, _output_bytes(layer)))
    if others:
        rest = sum((layer.cost for layer in others), Cost())
        table.add_row(f"({len(others)} others)", "", "", *_numbers(cost, rest, 1, sum(map(_output_bytes, others))))
    whole = sum((layer.cost for layer in cost.layers), Cost())
    table.add_section()
    table.add_row("all", "", "", *_numbers(cost, whole, 1, sum(map(_output_bytes, cost.layers))))
    return table


def _numbers(model: ModelCost, cost: Cost, groups: int, output_bytes: int) -> list[str]:
    share = cost.macs / model.macs if model.macs else 0.0
    return [
        f"{cost.parameters:,}",
        f"{cost.macs:,}",
        f"{share:.2%}",
        str(groups) if groups > 1 else "",
        f"{cost.arithmetic_intensity:.2f}",
        f"{output_bytes / 1024:,.1f}",
    ]


def _output_bytes(layer: LayerCost) -> int:
    """The activation memory that the layer's output takes: what training keeps of it."""
    return FLOAT32 * layer.elements_out


def _totals(cost: ModelCost) -> Table:
    table = Table("counted", box=None, pad_edge=False)
    table.add_column("total", justify="right")
    for name, counted in COUNTS.items():
        table.add_row(name, f"{counted(cost):,}")
    return table


def _described(walk: Walk, cost: ModelCost) -> dict[str, Any]:
    """Everything, for other programs."""
    return {
        "model": walk.network,
        "options": dict(walk.options),
        "size": walk.size,
        "layers": [
            {
                "layer": layer.layer,
                "name": layer.name,
                "kind": layer.kind,
                "out_shapes": layer.out_shapes,
                "parameters": layer.parameters,
                "macs": layer.cost.macs,
                "share": layer.cost.macs / cost.macs if cost.macs else 0.0,
                "groups": layer.groups,
                "bytes_moved": layer.cost.bytes_moved,
                "arithmetic_intensity": layer.cost.arithmetic_intensity,
                "output_bytes": _output_bytes(layer),
            }
            for layer in cost.layers
        ],
        "totals": {name: counted(cost) for name, counted in COUNTS.items()},
        "macs_by_kind": cost.macs_by_kind,
    }
