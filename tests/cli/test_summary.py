"""`npconv summary`, as a user meets it: its numbers are those of `npconv.costs`, and what is wrong is one line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from npconv import costs
from npconv.cli.app import app
from npconv.models import NETWORKS, ghostnet, tiny_octave
from npconv.papers import COUNTS


def call(*words):
    return CliRunner().invoke(app, ["summary", *map(str, words)])


def described(*words):
    result = call(*words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_json_is_the_walk():
    cost = costs.count(tiny_octave(alpha=0.25, rng=np.random.default_rng(0)), (1, 1, 12, 10))
    summary = described("tiny_octave", "--alpha", 0.25, "--size", "12x10")
    assert (summary["model"], summary["options"], summary["size"]) == ("tiny_octave", {"alpha": 0.25}, [12, 10])
    assert summary["totals"] == {name: counted(cost) for name, counted in COUNTS.items()}
    assert summary["macs_by_kind"] == cost.macs_by_kind
    assert len(summary["layers"]) == len(cost.layers)
    for row, layer in zip(summary["layers"], cost.layers, strict=True):
        assert (row["layer"], row["name"], row["kind"]) == (layer.layer, layer.name, layer.kind)
        assert row["out_shapes"] == [list(shape) for shape in layer.out_shapes]
        assert (row["parameters"], row["macs"], row["groups"]) == (layer.parameters, layer.cost.macs, layer.groups)
        assert row["share"] == layer.cost.macs / cost.macs
        assert row["arithmetic_intensity"] == layer.cost.flops / layer.cost.bytes_moved
        assert row["output_bytes"] == 4 * sum(np.prod(shape) for shape in layer.out_shapes)


def test_text_has_a_row_for_each_layer_with_multiplications():
    result = call("tiny_mobilenet", "--width", 0.5)
    assert result.exit_code == 0
    title, headings, *rows = [line.rstrip() for line in result.stdout.splitlines()]
    assert title == "tiny_mobilenet, width=0.5, one image of 8x8 pixels"
    assert headings.split() == [
        "layer",
        "kind",
        "output",
        "parameters",
        "MACs",
        "share",
        "groups",
        "FLOPs/byte",
        "output",
        "KiB",
    ]
    layers = [row.split()[0] for row in rows[:10]]
    assert layers[:3] == ["stem.conv", "block1.depthwise", "block1.pointwise"]
    assert layers[-1] == "head.linear"
    assert rows[1].split() == ["block1.depthwise", "depthwise", "8x8x8", "72", "4,608", "7.83%", "8", "2.10", "2.0"]
    assert rows[10].startswith("(19 others)")
    total = next(row for row in rows if row.startswith("all "))
    summary = described("tiny_mobilenet", "--width", 0.5)
    assert f"{summary['totals']['all parameters']:,}" in total
    assert f"{summary['totals']['MACs, conv + FC']:,}" in total
    assert "100.00%" in total
    for name, count in summary["totals"].items():
        assert any(row.startswith(name) and row.endswith(f" {count:,}") for row in rows)


def test_all_lists_the_others_too():
    rows = call("tiny_mobilenet", "--all").stdout.splitlines()
    assert not [row for row in rows if "others" in row]
    assert len([row for row in rows if "batch norm" in row]) == 9
    assert len([row for row in rows if " activation " in row]) == 9


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("variant=tensorflow", {"variant": "tensorflow"}),
        ("width=0.5", {"width": 0.5}),
        ("num_classes=10", {"num_classes": 10}),
        ("dropout=0", {"dropout": 0}),
    ],
)
def test_options_reach_the_network(text, value):
    summary = described("ghostnet", "--option", text, "--size", 64)
    assert summary["options"] == value
    cost = costs.count(ghostnet(**value, rng=np.random.default_rng(0)), (1, 3, 64, 64))
    assert summary["totals"]["all parameters"] == cost.parameters
    assert summary["totals"]["MACs, conv + FC"] == cost.macs


@pytest.mark.slow
def test_options_may_be_words_and_pairs():
    assert described("shufflenet_v1", "-O", "shuffle=False", "-O", "squeeze_excite=true")["options"] == {
        "shuffle": False,
        "squeeze_excite": True,
    }
    assert described("mobilenet_v1", "-O", "padding=(1, 1)", "--width", 0.25)["options"]["padding"] == [1, 1]
    assert described("shufflenet_v1", "-O", "stem_channels=none")["options"] == {"stem_channels": None}


def test_groups_are_shown():
    (row,) = (row for row in described("shufflenet_v1", "--groups", 8)["layers"] if row["layer"].endswith("stem.conv"))
    assert row["groups"] == 1
    assert {1, 8, 96} <= {row["groups"] for row in described("shufflenet_v1", "--groups", 8)["layers"]}


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"oct_resnet152_v1f", "conv_mobilenet"}))
def test_every_network_has_a_summary(name):
    totals = described(name)["totals"]
    assert 0 < totals["MACs, conv"] <= totals["MACs, conv + FC"]
    assert 0 < totals["weights"] < totals["parameters, BN folded"] <= totals["all parameters"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["alexnet"], "MODEL must be one of "),
        (
            ["mobilenet_v1", "-O", "wide=3"],
            "the options of mobilenet_v1 must be among width, num_classes, in_channels, ",
        ),
        (
            ["mobilenet_v1", "-O", "rng=3"],
            "the options of mobilenet_v1 must be among width, num_classes, in_channels, ",
        ),
        (["mobilenet_v1", "-O", "width"], "--option must be NAME=VALUE, got 'width'"),
        (["mobilenet_v1", "-O", "=1"], "--option must be NAME=VALUE, got '=1'"),
        (["mobilenet_v1", "-O", "width=wide"], "width must be a number, got 'wide'"),
        (
            ["mobilenet_v1", "-O", "padding=[1, 1]"],
            "--option must be a number, a word or a tuple, got 'padding=[1, 1]'",
        ),
        (["mobilenet_v1", "--alpha", "0.5"], "the options of mobilenet_v1 must be among "),
        (["mobilenet_v1", "--size", "big"], "--size must be pixels such as 224 or 49x10, got 'big'"),
        (["mobilenet_v1", "--size", "8x"], "--size must be pixels such as 224 or 49x10, got '8x'"),
        (["mobilenet_v1", "--size", "0"], "--size must be at least 1, got --size=0"),
        (["mobilenet_v1", "--size", "8x-1"], "--size must be at least 1, got --size=-1"),
        (["mobilenet_v1", "--width", "1", "-O", "width=0.5"], "an option must be given once, got width twice"),
        (["mobilenet_v1", "-O", "width=1", "-O", "width=1"], "an option must be given once, got width twice"),
        (["shufflenet_v1", "--groups", "5"], "groups must be 1, 2, 3, 4 or 8, got groups=5"),
    ],
)
def test_errors_are_one_line(words, message):
    result = call(*words)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"npconv: {message}")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
