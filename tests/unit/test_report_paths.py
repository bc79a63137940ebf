"""The calculations of the report, on graphs with obvious answers."""

from __future__ import annotations

import itertools

import pytest

from tools.report.paths import critical_path, depths, reduced, serial_waves

# a -> b -> d and a -> c -> d, and the edge a -> d that both imply.
DIAMOND = {"a": set[str](), "b": {"a"}, "c": {"a"}, "d": {"a", "b", "c"}}


def test_an_edge_that_a_longer_way_implies_is_dropped() -> None:
    assert reduced(DIAMOND) == {"a": set(), "b": {"a"}, "c": {"a"}, "d": {"b", "c"}}


def test_a_chain_stays_as_it_is() -> None:
    chain = {"a": set[str](), "b": {"a"}, "c": {"b"}}
    assert reduced(chain) == chain


def test_implied_over_three_edges() -> None:
    assert reduced({"a": set(), "b": {"a"}, "c": {"b"}, "d": {"c", "a"}})["d"] == {"c"}


def test_depth_is_the_longest_way() -> None:
    assert depths(DIAMOND) == {"a": 0, "b": 1, "c": 1, "d": 2}


def test_critical_path_goes_by_seconds_not_by_steps() -> None:
    needs = {"quick": set[str](), "quick2": {"quick"}, "slow": set[str](), "end": {"quick2", "slow"}}
    assert critical_path(needs, {"quick": 1, "quick2": 1, "slow": 5, "end": 1}) == ["slow", "end"]
    assert critical_path(needs, {"quick": 3, "quick2": 3, "slow": 5, "end": 1}) == ["quick", "quick2", "end"]


def test_critical_path_may_end_anywhere() -> None:
    seconds = dict.fromkeys("abcd", 1) | {"alone": 9}
    assert critical_path(DIAMOND | {"alone": set[str]()}, seconds) == ["alone"]


@pytest.mark.parametrize("order", list(itertools.permutations("abcd")), ids="".join)
def test_equal_chains_give_one_answer_whatever_their_order(order: tuple[str, ...]) -> None:
    needs = {node: DIAMOND[node] for node in order}
    assert critical_path(needs, dict.fromkeys("abcd", 1)) == ["a", "b", "d"]


def test_nothing_has_no_critical_path_and_no_waves() -> None:
    assert critical_path({}, {}) == []
    assert serial_waves({}, {}, {}) == []


def test_waves_wait_for_the_slowest_of_the_wave_before() -> None:
    # The pool (90 s) and the operator (20 s) share a wave; the database (60 s) needs the operator alone.
    needs = {"pool": set[str](), "operator": set[str](), "database": {"operator"}, "engine": {"pool"}}
    seconds = {"pool": 90, "operator": 20, "database": 60, "engine": 5}
    waves = serial_waves(needs, {node: node for node in needs}, seconds)
    assert [(wave.components, wave.seconds) for wave in waves] == [
        (["pool", "operator"], 90),
        (["database", "engine"], 60),
    ]
    chain = critical_path(needs, seconds)
    assert sum(seconds[node] for node in chain) == 95 < sum(wave.seconds for wave in waves)


def test_a_wave_takes_its_longest_chain() -> None:
    needs = {"release": set[str](), "gate": {"release"}, "other": set[str]()}
    component = {"release": "operator", "gate": "operator", "other": "secrets"}
    (wave,) = serial_waves(needs, component, {"release": 5, "gate": 2, "other": 6})
    assert (wave.components, wave.chain, wave.seconds) == (["operator", "secrets"], ["release", "gate"], 7)


def test_components_that_wait_for_each_other_share_a_wave() -> None:
    needs = {"x1": set[str](), "y1": {"x1"}, "x2": {"y1"}, "z": {"x2"}}
    component = {"x1": "x", "y1": "y", "x2": "x", "z": "z"}
    waves = serial_waves(needs, component, dict.fromkeys(needs, 1))
    assert [(wave.components, wave.chain) for wave in waves] == [
        (["x", "y"], ["x1", "y1", "x2"]),
        (["z"], ["z"]),
    ]
