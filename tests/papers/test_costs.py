"""Published operations, energies and parameters, counted from the networks that the rows build."""

from __future__ import annotations

import pytest

from srnn import papers
from srnn.papers.costs import costs, count

COUNTED = (
    "yin2020-table2",
    "yin2021-table2",
    "yin2021-tableS2",
    "bittar2022-table9",
    "bittar2022-table10",
    "bittar2022-energy",
)


@pytest.fixture(scope="module")
def found():
    return {name: costs(papers.load(name)) for name in COUNTED}


@pytest.mark.parametrize(
    ("name", "equal", "explained"),
    [
        ("yin2020-table2", 12, 0),
        ("yin2021-table2", 24, 10),
        ("yin2021-tableS2", 46, 19),
        ("bittar2022-table9", 6, 0),
        ("bittar2022-table10", 6, 0),
        ("bittar2022-energy", 4, 0),
    ],
)
def test_every_published_cost_is_equal_or_explained(found, name, equal, explained):
    compared = [(row, c) for row, metrics in found[name].items() for c in metrics if c.verdict]
    assert [
        (row, c.metric, c.published, c.computed) for row, c in compared if c.verdict == "DIFFERS"
    ] == []
    verdicts = [c.verdict for _, c in compared]
    assert verdicts.count("equal") >= equal
    assert verdicts.count("explained") >= explained


@pytest.mark.parametrize("name", COUNTED)
def test_an_explanation_explains_a_difference(found, name):
    """None is left over for a number that is equal, or that is not there."""
    table = papers.load(name)
    checked = 0
    for row in table.rows:
        verdict = {c.metric: c.verdict for c in found[name][row.name]}
        assert {m: verdict.get(m) for m in row.explained} == dict.fromkeys(
            row.explained, "explained"
        ), row.name
        checked += 1
    assert checked == len(table.rows) >= 8


def test_operations_of_yin_2021_by_its_own_rules(found):
    """The integers that the printed energies are multiples of, and what they should have been where
    the paper slipped.
    """
    wanted = {
        "ecg-relu": 1866,
        "ecg-lstm": 6588,
        "ecg-gru": 4968,
        "ecg-rnn": 3096,
        "ecg-bilstm": 181800,
        "smnist-relu": 157298,
        "psmnist-relu": 157298,
        "shd-relu": 142612,
        "shd-bilstm": 1118779.2,
        "ssc-relu": 778035,
        "soli-relu": 1059339,
        "soli-rnn": 1318400,
        "soli-gru": 2108928,
        "soli-lstm": 2635776,
        "timit-relu": 600637,
        "gsc-relu": 222612,
        "ecg-lif": 42,
        "ecg-ours": 90,
        "smnist-counted": 2014,
        "psmnist-ours": 2014,
        "shd-ours": 788,
        "ssc-ours": 2435,
        "soli-ours": 3083,
        "timit-ours": 1597,
        "gsc-ours": 1812,
    }
    mac = {
        row: c.computed
        for row, metrics in found["yin2021-tableS2"].items()
        for c in metrics
        if c.metric == "mac" and c.computed is not None
    }
    assert mac == pytest.approx(wanted, abs=1e-6)


def test_the_two_rows_that_need_no_outside_number(found):
    by = {
        row: {c.metric: c.computed for c in metrics}
        for row, metrics in found["yin2021-tableS2"].items()
    }
    assert by["ecg-ours"]["energy"] == pytest.approx(3.1 * 90 + 0.1 * 1656 * 0.282)
    assert by["ecg-lif"]["energy"] == pytest.approx(3.1 * 42 + 0.1 * 1656 * 0.300)
    assert by["ecg-lif"]["error_ratio"] == pytest.approx(24.5 / 14.7)
    assert by["ecg-lif"]["efficiency"] == pytest.approx(by["ecg-lif"]["energy_ratio"] * 24.5 / 14.7)
    assert by["ecg-ours"]["energy_ratio"] is None


def test_a_spiking_network_without_a_rate_has_no_energy():
    table = papers.load("yin2021-table2")
    known = count(table.row("ecg-described"), "yin2021")
    assert known["mac"] == 3 * 42
    assert "ac" not in known
    assert "energy" not in known
    assert count(table.row("ecg-lstm"), "yin2021")["ac"] == 0


def test_parameters_are_counted_as_published():
    table = papers.load("yin2021-table2")
    # 36 of them are read by nothing
    assert count(table.row("ecg-ours"), "yin2021")["parameters"] == 1818
    five = papers.load("bittar2022-table5")
    # as coded: batch norm, no bias
    assert count(five.row("shd-adlif-128"), "bittar2022")["parameters"] == 110_140
    assert count(five.row("shd-radlif-128"), "bittar2022")["parameters"] == 142_908
