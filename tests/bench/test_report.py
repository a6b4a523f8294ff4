"""What a run says: the table's figures, means and messages, from rows made by hand."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from npconv.bench import report
from npconv.bench.cases import Case
from npconv.bench.machine import Machine
from npconv.bench.networks import Network
from npconv.bench.peers import C_ORDER, OWN
from npconv.bench.plot import roofline
from npconv.bench.run import Row
from npconv.costs import Cost

# 1 GF/s; 1 GB/s up to 1 kB, twice that from 1 MB on
MACHINE = Machine(1, 1e9, ((1000, 1e9), (1_000_000, 2e9)), 0.5)
TWO = Machine(2, 2e9, ((1000, 2e9), (1_000_000, 4e9)), 0.25)
CASE = Case("pointwise", "somewhere", 1, 32, 32, 16)  # 2 * 32 * 32 * 256 = 524288 FLOPs
MOVE = Case("shuffle", "elsewhere", 1, 32, 32, 16, groups=2)  # 2 * 4 * 8192 = 65536 bytes


def printed(renderable):
    console = Console(width=200, highlight=False)
    with console.capture() as capture:
        console.print(renderable)
    return [line.split() for line in capture.get().splitlines()]


def test_a_line_has_time_rates_share_and_ratio():
    row = Row(CASE, "forward", 1, {OWN: [1e-3, 2e-3, 1e-3], "torch": [2e-3, 2e-3, 3e-3], "jax": [9.0] * 3}, {})
    heading, line = printed(report.table([row], {1: MACHINE}, "float32"))
    assert "threads" not in heading
    assert line == [
        *["pointwise", "somewhere", "1x32->32", "@16", "1x1", "forward"],
        *["1.000", "0.5", "0.1", "52%", "FMA", "torch", "2.000", "2.00", "1.00..3.00"],
    ]


def test_what_only_moves_is_a_share_of_copying():
    _, line = printed(report.table([Row(MOVE, "forward", 1, {OWN: [65536 / 0.5e9]}, {})], {1: MACHINE}, "float32"))
    rate = MACHINE.bandwidth(65536) / 1e9
    assert 1 < rate < 2
    assert line[-3:] == ["0.5", f"{0.5 / rate:.0%}", "copy"]


def test_several_threads_have_a_column_of_scaling():
    rows = [Row(CASE, "forward", threads, {OWN: [0.004 / threads]}, {}) for threads in (1, 2)]
    heading, one, two = printed(report.table(rows, {1: MACHINE, 2: TWO}, "float32"))
    assert heading[-1] == "scaling"
    assert one[-1] == "FMA"
    assert two[-1] == "2.00"


def test_a_row_without_times_is_a_line_all_the_same():
    row = Row(CASE, "forward", 1, {}, {OWN: "it broke"})
    assert len(printed(report.table([row], {1: MACHINE}, "float32"))) == 2


def test_means_are_geometric_and_know_the_faster_layout():
    rows = [
        Row(CASE, "forward", 1, {OWN: [1.0], "torch": [4.0], "torch_channels_last": [2.0], "jax": [1.0]}, {}),
        Row(CASE, "forward", 1, {OWN: [1.0], "torch": [8.0], "torch_channels_last": [9.0]}, {"jax": "no"}),
    ]
    heading, *lines = printed(report.means(rows, {1: MACHINE}))
    assert heading[4:] == ["best", "faster", "torch", "torch", "torch_channels_last", "jax"]
    expected = ["2.83", "(1.00,", "2)", "4.00", "(2.00,", "2)", "5.66", "(4.00,", "2)", "4.24", "(2.00,", "2)"]
    assert lines[0] == ["pointwise", "forward", "1", "2", *expected, "1.00", "(1.00,", "1)"]
    assert lines[1][0] == "all"
    only = [Row(CASE, "forward", 1, {OWN: [1.0], "jax": [1.0]}, {})]
    assert printed(report.means(only, {1: MACHINE}))[0][4:] == ["best", "jax"]


def test_npconv_in_c_order_is_no_peer_and_stands_beside_pytorch_in_c_order():
    times = {OWN: [2.0], C_ORDER: [1.0], "torch": [6.0], "torch_channels_last": [3.0]}
    row = Row(CASE, "forward", 1, times, {})
    assert row.best == "torch_channels_last"
    heading, line, _ = printed(report.means([row], {1: MACHINE}))
    assert heading[4:] == [
        "best",
        "faster",
        "torch",
        "both",
        "in",
        "C",
        "order",
        C_ORDER,
        "torch",
        "torch_channels_last",
    ]
    assert line[4::3] == ["1.50", "1.50", "6.00", "0.50", "3.00", "1.50"]


def test_problems_are_told_once():
    rows = [Row(CASE, direction, 1, {}, {"jax": "no such thing\nat line 3"}) for direction in ("forward", "backward")]
    assert report.problems(rows) == ["jax: no such thing (pointwise 1x32->32 @16 1x1 forward and 1 more)"]


def test_json_has_everything_in_seconds():
    row = Row(CASE, "forward", 1, {OWN: [1.0], "torch": [2.0]}, {"jax": "no"})
    told = json.loads(json.dumps(report.as_json([row], {1: MACHINE}, "float32")))
    (described,) = told["rows"]
    assert described["flops"] == 524288
    assert described["limit_seconds"] == pytest.approx(524288e-9)
    assert described["seconds"] == {OWN: [1.0], "torch": [2.0]}
    assert described["ratios"]["torch"]["median"] == 2.0
    assert described["problems"] == {"jax": "no"}
    assert described["groups"] == 1
    assert told["machine"][0]["flops"] == 1e9


def test_limits_are_the_larger_of_computing_and_copying():
    assert MACHINE.bandwidth(10) == 1e9
    assert MACHINE.bandwidth(10**9) == 2e9
    compute, move = Cost(macs=10**9, bytes_moved=1000), Cost(macs=1, bytes_moved=1000)
    assert (MACHINE.limit(compute), MACHINE.is_memory_bound(compute)) == (2.0, False)
    assert (MACHINE.limit(move), MACHINE.is_memory_bound(move)) == (1e-6, True)


def test_machine_lines_say_what_the_machine_can_do():
    one, two = report.machine_lines({1: MACHINE, 2: TWO}, "float32")
    assert one.startswith("this machine, float32, 1 thread: 1 GF/s")
    assert two.endswith("a matrix product in 250.0 ms")


def test_scalings_stand_beside_that_of_a_matrix_product():
    machines = {1: MACHINE, 2: TWO}
    assert report.scalings([], machines) == ["2 threads against 1: a matrix product is 2.00x as fast"]
    assert report.scalings([], {1: MACHINE}) == []
    times = {"forward": (0.0040, 0.0020), "input_grad": (0.0040, 0.0050), "weight_grad": (0.0010, 0.0001)}
    rows = [
        Row(CASE, direction, threads, {OWN: [seconds]}, {})
        for direction, both in times.items()
        for threads, seconds in enumerate(both, start=1)
    ]
    (line,) = report.scalings(rows, machines)
    assert line.endswith("shapes of over 1 ms are 1.26x on the geometric mean, 0.80x to 2.00x, 2 of them")


def test_shares_are_of_the_shapes_that_the_machine_limits():
    large = Case("pointwise", "", 1, 128, 256, 16)  # 2 * 128 * 256 * 256 FLOPs
    row = Row(large, "forward", 1, {OWN: [4 * 128 * 256 * 256 / 1e9]}, {})
    rows = [row, row._replace(seconds={OWN: [8 * 128 * 256 * 256 / 1e9]}), row._replace(seconds={})]
    others = [Row(CASE, "forward", 1, {OWN: [1e-9]}, {}), Row(MOVE, "forward", 1, {OWN: [1e-9]}, {})]
    assert report.shares(rows + others, {1: MACHINE}, "float32") == [
        "1x1 of 128 channels or more, forward, 1 thread: 25% to 50% of the FMA peak, median 38%, 2 shapes"
    ]
    filters = Case("depthwise", "", 1, 8, 8, 56, 3, 1, 1, 8)
    moved = filters.cost("forward", 4).bytes_moved
    (line,) = report.shares(
        [Row(filters, "forward", 1, {OWN: [moved / MACHINE.bandwidth(moved)]}, {})], {1: MACHINE}, "float32"
    )
    assert (
        line
        == "depthwise 3x3 of 56x56 or more, forward, 1 thread: 100% to 100% of the copy bandwidth, median 100%, 1 shape"
    )
    assert not report.shares([Row(filters._replace(size=55), "forward", 1, {OWN: [1.0]}, {})], {1: MACHINE}, "float32")


def test_a_forward_of_networks_is_said_to_be_folded():
    network = Network("tiny_mobilenet", 64, 32)
    assert len(report.notes([Row(network, "forward", 1, {OWN: [1.0]}, {})])) == 1
    assert report.notes([Row(network, "step", 1, {OWN: [1.0]}, {}), Row(CASE, "forward", 1, {OWN: [1.0]}, {})]) == []


def test_the_picture_is_a_png_also_where_nothing_computes(tmp_path):
    computes = Row(CASE, "forward", 1, {OWN: [1e-3], "torch": [2e-3]}, {})
    for number, rows in enumerate([[computes], [Row(MOVE, "forward", 1, {OWN: [1e-3]}, {})]]):
        path = tmp_path / f"{number}.png"
        roofline(path, rows, MACHINE, "float32")
        assert path.read_bytes().startswith(b"\x89PNG")
