"""The rows of the papers: printed numbers, what a row may not be, and that every row makes a
network that its optimiser fits.
"""

from __future__ import annotations

import pytest

from srnn import papers, tasks
from srnn._check import ConfigError
from srnn.papers.jobs import key
from srnn.papers.table import Row, Table, agrees, unit, value
from srnn.tasks.settings import override

TABLES = papers.tables()
TASKED = [(t, r) for t in TABLES for r in t.rows if r.task is not None and not r.cannot]


@pytest.mark.parametrize(
    ("printed", "number", "one"),
    [
        ("85.9", 85.9, 0.1),
        ("1.9k", 1900, 100),
        ("181.8K", 181_800, 100),
        ("1.1M", 1_100_000, 100_000),
        ("2k", 2000, 1000),
        ("13,804", 13804, 1),
        (".5k", 500, 100),
        ("1118779.2", 1118779.2, 0.1),
        ("42", 42, 1),
    ],
)
def test_a_printed_number_is_read_with_its_precision(printed, number, one):
    assert value(printed) == pytest.approx(number)
    assert unit(printed) == pytest.approx(one)


def test_a_number_agrees_with_what_rounds_to_it():
    assert agrees("1.9k", 1866)
    assert agrees("1.9k", 1850)
    assert not agrees("1.9k", 1849)
    assert not agrees("15400", 15400.8)
    assert agrees("3468215.52", 1118779.2 * 3.1)
    with pytest.raises(ValueError, match="could not convert"):
        value("about 3")


def test_the_tables_are_those_of_the_papers():
    wanted = {f"yin2020-{n}" for n in ("table1", "table2", "fig5", "fig6", "fig7", "fig8")}
    wanted |= {
        f"yin2021-{n}"
        for n in ("table1", "table2", "tableS1", "tableS2", "figS1", "ext3", "ext4", "ext5")
    }
    wanted |= {f"yin2021-fig3{c}" for c in "defghi"} | {f"yin2021-fig4{c}" for c in "abcdefghi"}
    wanted |= {
        f"bittar2022-{n}"
        for n in (
            "table1",
            "table5",
            "table6",
            "table7",
            "table8",
            "table9",
            "table10",
            "table11",
            "energy",
        )
    }
    assert {t.name for t in TABLES} == wanted
    assert papers.load("YIN2021-tables2").name == "yin2021-tableS2"
    with pytest.raises(
        ConfigError,
        match=r"There is no table 'yin2021-table3'[.] Did you mean "
        r"'yin2021-table",
    ):
        papers.load("yin2021-table3")


def test_every_row_makes_a_network_that_its_optimiser_fits():
    """With few hidden units, to be quick: what a setting or a pattern of the optimiser names is
    there whatever the size.
    """
    seen, built = set(), 0
    for table, row in TASKED:
        task = row.resolved()
        hidden = getattr(task.network, "hidden", None)
        if hidden is not None:
            task = override(
                task, [f"network.hidden={4 if isinstance(hidden, int) else [4] * len(hidden)}"]
            )
        if (name := key(task)) in seen:
            continue
        seen.add(name)
        net = task.build()
        assert (net.inputs, net.outputs) == (task.shape.channels, len(task.classes)), (
            table.name,
            row.name,
        )
        groups = task.optimiser.build(net).param_groups
        assert sum(len(g["params"]) for g in groups) == len(list(net.parameters()))
        built += 1
    assert len(TASKED) >= 700
    assert built >= 250


def test_nothing_simulated_and_no_stand_in_has_a_published_number():
    real = {name: not tasks.load(name).data.simulated for name in tasks.names()}
    assert all(real[row.task] for _, row in TASKED)
    stand_ins = [row for _, row in TASKED if row.stands_for]
    assert len(stand_ins) >= 100
    assert not any(row.published for row in stand_ins)
    with pytest.raises(ConfigError, match="it stands in for 'shd' on other data"):
        Row("a", "A", "ecg", published={"accuracy": "90"}, stands_for="shd")


def test_every_row_says_what_its_network_sees():
    assert [(t.name, r.name) for t, r in TASKED if not r.sees] == []
    # LSTM, GRU, RNN on ECG
    assert len([r for _, r in TASKED if r.published_sees == "analog samples"]) >= 8


def test_the_published_numbers_of_the_results():
    """A few, against slips of the pen."""

    def of(name):
        return {r.name: r.published.get("accuracy") for r in papers.load(name).rows}

    one = of("yin2021-table1")
    assert [
        one[f"{n}-ours"] for n in ("ecg", "smnist", "psmnist", "shd", "ssc", "gsc", "soli", "timit")
    ] == [
        "85.9",
        "98.7",
        "94.3",
        "90.4",
        "74.2",
        "92.1",
        "79.8",
        "66.1",
    ]
    five = of("bittar2022-table5")
    assert (
        five["shd-adlif-128"],
        five["shd-radlif-1024"],
        five["shd-mlp-128"],
        five["shd-gru-128"],
    ) == ("93.06", "94.62", "61.63", "90.40")
    eleven = of("bittar2022-table11")
    assert (
        eleven["sc-radlif-512-threshold"],
        eleven["sc-radlif-512-current"],
        eleven["fsdd-radlif-128-current"],
    ) == ("93.61", "94.51", None)


def test_a_table_refuses_what_cannot_be():
    row = Row("a", "A", "ecg")
    with pytest.raises(ConfigError, match="neither a task nor a reason"):
        Row("a", "A")
    with pytest.raises(ConfigError, match="two rows are called 'a'"):
        Table("t", "T", "S", (row, row))
    with pytest.raises(ConfigError, match="compared with 'b', which is no row of it"):
        Table("t", "T", "S", (Row("a", "A", "ecg", against="b"),))


def test_rows_and_tasks_are_chosen():
    table = papers.load("yin2021-table2")
    assert [r.name for r in table.only(["ecg-l*"]).rows] == [
        "ecg-lif",
        "ecg-lif-scripted",
        "ecg-lstm",
    ]
    # the row it is compared with is left out
    assert table.only(["ecg-l*"]).row("ecg-lif").against is None
    assert table.only(["ecg-l*", "ecg-ours"]).row("ecg-lif").against == "ecg-ours"
    assert {r.task for r in table.only((), ["fsdd_spikes"]).rows} == {"fsdd_spikes"}
    with pytest.raises(
        ConfigError,
        match=r"yin2021-table2 has no row 'ecg-lsmt'[.] Rows: "
        r"ecg-ours, ",
    ):
        table.only(["ecg-lsmt"])
    with pytest.raises(ConfigError, match=r"no such row on hd[.] Tasks: ecg, "):
        table.only((), ["hd"])
