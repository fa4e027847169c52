"""JSON of others: bounds, and what is wanted of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from srnn._files import _json


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[" * 100_000, "nested more than 100 deep"),
        ("[" * 101 + "]" * 101, "nested more than 100 deep"),
        (f"[{10**400}]", "a whole number of 1329 bits; expected 64"),
        ("9" * 5000, "limit"),
        ("NaN", "it holds nan"),
        ("[1e999]", "it holds inf"),
        ('{"a": "\\ud800"}', "lone surrogate"),
        ('{"\\udfff": 1}', "lone surrogate"),
        ("", "Expecting value"),
        (b"\xff\xfe\x00", "codec"),
    ],
)
def test_bounds(text, wrong):
    with pytest.raises(ValueError, match=wrong):
        _json.parse(text)


def test_what_json_may_say():
    value = {"a": [1, 2.5, None, True, "é\0"], "b": {"c": []}, "n": [2**64 - 1, -(2**63)]}
    assert _json.parse(json.dumps(value)) == value
    assert _json.parse("[" * 100 + "]" * 100)


@pytest.mark.parametrize(
    ("value", "wanted", "wrong"),
    [
        (3, int, None),
        (True, int, "it is true; expected a whole number"),
        (3.0, int, "it is 3.0; expected a whole number"),
        (3, float, None),
        (False, float, "it is false; expected a number"),
        ("3", float, 'it is "3"; expected a number'),
        (None, (float, None), None),
        ("x", (float, None), 'it is "x"; expected a number or null'),
        (7, range(7), "it is 7; expected a whole number 0 … 6"),
        (6, range(7), None),
        ([1, "a"], [int], '[1] is "a"; expected a whole number'),
        ({}, [int], "it is {}; expected a list"),
        ([], {}, "it is []; expected an object"),
        ({"a": {"b": []}}, {"a": {"b": int}}, "a.b is []; expected a whole number"),
        ({"z": 1}, {"b": int, "a": int}, "it has no a, b"),
        ({"z": 1}, {"b?": int}, None),
        ({"b": None}, {"b?": int}, "b is null; expected a whole number"),
        ({"x": 1, "y": "a"}, {str: int}, 'y is "a"; expected a whole number'),
        ({"x": 1}, dict, None),
        ("a" * 100, int, f'it is "{"a" * 59} …; expected a whole number'),
    ],
)
def test_what_is_wanted(value: Any, wanted: Any, wrong: str | None):
    assert _json.misfit(value, wanted) == wrong


def test_a_file_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(_json, "MOST", 10)
    (tmp_path / "a").write_text('"12345678"')
    assert _json.read(tmp_path / "a") == "12345678"
    (tmp_path / "a").write_text('"123456789"')
    with pytest.raises(ValueError, match="more than 10 bytes"):
        _json.read(tmp_path / "a")
