"""Files of labelled examples."""

import numpy as np
import pytest

import weft
from weft import data


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_tables(tmp_path):
    for name, text in (
        ("a.csv", 'kind,text\nx,"one, two"\ny,three\n'),
        ("a.tsv", "text\tkind\none, two\tx\nthree\ty\n"),
        ("a.jsonl", '{"text": "one, two", "kind": "x"}\n\n{"kind": "y", "text": "three"}\n'),
    ):
        found = data.read_table(write(tmp_path / name, text), "text", "kind")
        assert found == [("one, two", "x"), ("three", "y")]
    for name, text, wrong in (
        ("b.csv", "text,kind\na\n", "b.csv:2: expected 2 columns .text, kind., got 1"),
        ("b.csv", "text,label\na,b\n", "b.csv:2: expected a column 'kind', there are text, label"),
        ("b.tsv", "text\tkind\na\t\n", "b.tsv:2: the column 'kind' is empty"),
        ("b.jsonl", "{\n", "b.jsonl:1: not JSON"),
        ("b.jsonl", "[1]\n", "b.jsonl:1: expected an object"),
        ("b.csv", "text,kind\n", "no examples"),
        ("b.csv", "", "expected a first line"),
    ):
        with pytest.raises(weft.DataError, match=wrong):
            data.read_table(write(tmp_path / name, text), "text", "kind")
    series = write(tmp_path / "c.csv", '"Month","Count"\n"1949-01",112\n"1949-02",118.5\n')
    assert data.read_column(series, "Count").tolist() == [112.0, 118.5]
    with pytest.raises(weft.DataError, match="c.csv:2: the column 'Month' is not a number: '1949-01'"):
        data.read_column(series, "Month")


def test_folders_and_columns(tmp_path):
    (tmp_path / "names").mkdir()
    write(tmp_path / "names/Korean.txt", "Ahn\nBaik\n\n")
    write(tmp_path / "names/Irish.txt", "Ó Briain\n")
    assert data.read_folder(tmp_path / "names") == [("Ó Briain", "Irish"), ("Ahn", "Korean"), ("Baik", "Korean")]
    with pytest.raises(weft.DataError, match="a .txt file for each class"):
        data.read_folder(tmp_path)
    text = "-DOCSTART- -X- O\n\n# a comment\nEU NNP B-ORG\nrejects VBZ O\n\nPeter NNP B-PER\n"
    assert data.read_conll(write(tmp_path / "x.conll", text)) == [(["EU", "rejects"], ["B-ORG", "O"]), (["Peter"], ["B-PER"])]
    assert data.read_conll(tmp_path / "x.conll", tag=1)[0].label == ["NNP", "VBZ"]
    with pytest.raises(weft.DataError, match="x.conll:1: expected a token and its tag, got 'EU'"):
        data.read_conll(write(tmp_path / "x.conll", "EU\n"))


HEADER = "# about\n@problemName P\n@univariate false\n@dimensions 2\n@equalLength false\n@classLabel true A b\n@data\n"


def test_ts(tmp_path):
    found = data.read_ts(write(tmp_path / "a.ts", HEADER + "1,2,3:4,5,6:A\n7:8:b\n"))
    np.testing.assert_array_equal(found[0].input, [[1, 4], [2, 5], [3, 6]])
    assert found[1].input.shape == (1, 2) and [e.label for e in found] == ["A", "b"]
    for text, wrong in (
        (HEADER + "1,2:3:A\n", "a.ts:8: expected dimensions of one length, got .2, 1."),
        (HEADER + "1:2:c\n", "a.ts:8: expected a class of the header .A, b., got 'c'"),
        (HEADER + "1:x:A\n", "a.ts:8: dimension 2: expected numbers, got 'x'"),
        (HEADER + "1,NaN:2,3:A\n", "a.ts:8: dimension 1: expected numbers, got nan at step 1"),
        (HEADER.replace("@dimensions 2", "@dimensions 3") + "1:2:A\n", "the header says @dimensions 3, the series have .2."),
        (HEADER.replace("@univariate false", "@univariate true") + "1:2:A\n", "the header says @univariate true"),
        (
            HEADER.replace("@equalLength false", "@equalLength true") + "1:2:A\n1,2:3,4:b\n",
            "says @equalLength true, the series have lengths 1 to 2",
        ),
        (
            HEADER.replace("@equalLength false", "@equalLength true\n@seriesLength 5") + "1:2:A\n",
            "says @seriesLength 5, the series have .1.",
        ),
        (HEADER, "expected a line @data and series"),
        ("1,2,3\n", "a.ts:1: expected a header line"),
    ):
        with pytest.raises(weft.DataError, match=wrong):
            data.read_ts(write(tmp_path / "a.ts", text))
