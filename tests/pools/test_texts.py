from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from querist.errors import ConfigurationError, DataError, QueristError
from querist.pools import TextPool
from querist.pools.check import check_pool
from querist.protocols import TruthfulPool
from querist.registry import build

pytest.importorskip("transformers", reason="the extra `transformers` is not there")

MODULE = sys.modules[TextPool.__module__]
ROWS = [("the cat sat", "pets"), ("a dog", "pets"), ("the stock fell, again", "money")]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    from examples.texts.prepare import tokenizer_of

    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer_of([text for text, _ in ROWS]).save_pretrained(folder)
    return str(folder)


def as_csv(
    path: Path, rows: list[tuple[Any, ...]], header: tuple[str, ...] = ("text", "label")
) -> str:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def as_jsonl(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def pool(tokenizer: str) -> Callable[..., TextPool]:
    def make(file: str, **options: Any) -> TextPool:
        made = build(
            "pool", "texts", {"file": file, "tokenizer": tokenizer, "max_length": 8, **options}
        )
        assert isinstance(made, TextPool)
        return made

    return make


def words(pool: TextPool, index: int, tokenizer: str) -> list[str]:
    from transformers import AutoTokenizer

    ids = pool.features(torch.tensor([index]))[0].tolist()
    return list(AutoTokenizer.from_pretrained(tokenizer).convert_ids_to_tokens(ids))


def test_a_csv_file(tmp_path: Path, pool: Any, tokenizer: str) -> None:
    made = pool(as_csv(tmp_path / "x.csv", ROWS))
    assert isinstance(made, TruthfulPool)
    assert (len(made), made.classes, made.class_names) == (3, 2, ("money", "pets"))
    assert made.targets(torch.arange(3)).tolist() == [1, 1, 0]
    features = made.features(torch.tensor([2, 1]))
    assert (features.dtype, features.shape) == (torch.int64, (2, 8))
    assert words(made, 1, tokenizer) == ["[CLS]", "a", "dog", "[SEP]", *["[PAD]"] * 4]
    assert words(made, 2, tokenizer)[1:-1] == ["the", "stock", "fell", ",", "again", "[SEP]"]
    assert len(check_pool(made)) == 64


def test_long_texts_are_cut(tmp_path: Path, pool: Any, tokenizer: str) -> None:
    made = pool(as_csv(tmp_path / "x.csv", ROWS), max_length=4)
    assert words(made, 0, tokenizer) == ["[CLS]", "the", "cat", "[SEP]"]


def test_json_lines_say_the_same(tmp_path: Path, pool: Any) -> None:
    lines = [{"says": text, "about": label, "more": [1]} for text, label in ROWS]
    made = pool(as_jsonl(tmp_path / "x.jsonl", lines), text="says", label="about")
    other = pool(as_csv(tmp_path / "x.csv", ROWS))
    everything = torch.arange(3)
    assert torch.equal(made.features(everything), other.features(everything))
    assert torch.equal(made.targets(everything), other.targets(everything))
    assert made.class_names == other.class_names


def test_ids_take_four_bytes(tmp_path: Path, pool: Any) -> None:
    assert pool(as_csv(tmp_path / "x.csv", ROWS))._features.nbytes == 3 * 8 * 4


def test_chunks_do_not_matter(tmp_path: Path, pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file = as_csv(tmp_path / "x.csv", ROWS * 3)
    whole = pool(file)
    monkeypatch.setattr(MODULE, "CHUNK", 2)
    parts = pool(file)
    assert torch.equal(whole.features(torch.arange(9)), parts.features(torch.arange(9)))
    assert torch.equal(whole.targets(torch.arange(9)), parts.targets(torch.arange(9)))


def test_labels_that_are_numbers(tmp_path: Path, pool: Any) -> None:
    lines = [{"text": "a dog", "label": label} for label in (10, 2, 1)]
    made = pool(as_jsonl(tmp_path / "x.jsonl", lines))
    assert made.class_names == ("1", "2", "10")
    assert made.targets(torch.arange(3)).tolist() == [2, 1, 0]


def test_classes_in_an_order_of_ones_own(tmp_path: Path, pool: Any) -> None:
    file = as_csv(tmp_path / "x.csv", ROWS)
    made = pool(file, classes=["pets", "sport", "money"])
    assert (made.classes, made.targets(torch.arange(3)).tolist()) == (3, [0, 0, 2])
    with pytest.raises(DataError, match="label 'money', which is none of the classes pets, sport"):
        pool(file, classes=["pets", "sport"])


def test_nobody_knows_the_labels(tmp_path: Path, pool: Any) -> None:
    file = as_csv(tmp_path / "x.csv", [(text,) for text, _ in ROWS], header=("text",))
    made = pool(file, label=None, classes=["pets", "money"])
    assert (made.truthful, made.classes) == (False, 2)
    with pytest.raises(DataError, match="need their classes: set classes or label"):
        pool(file, label=None)


def test_held_out_texts(tmp_path: Path, pool: Any) -> None:
    file = as_csv(tmp_path / "x.csv", ROWS)
    test = as_csv(tmp_path / "t.csv", [("the dog sat", "pets"), ("a stock", "money")])
    made = pool(file, test=test, validation=test)
    assert set(made.held_out) == {"test", "validation"}
    assert made.held_out["test"].targets(torch.arange(2)).tolist() == [1, 0]
    assert made.held_out["test"].features(torch.arange(2)).shape == (2, 8)
    with pytest.raises(DataError, match=r"t.csv' has the label 'money', which is none"):
        pool(file, test=test, classes=["pets", "x"])
    with pytest.raises(DataError, match="test texts need labels"):
        pool(file, test=test, label=None, classes=["pets", "money"])


BROKEN: dict[str, tuple[str, bytes, str]] = {
    "no rows": ("x.csv", b"text,label\n", "has no rows"),
    "nothing at all": ("x.csv", b"", "has no rows"),
    "another ending": ("x.txt", b"text,label\na,b\n", "in a .csv or .jsonl file, unlike"),
    "no such text": ("x.csv", b"txt,label\na,b\n", "no column 'text', it has txt, label: set"),
    "no such label": ("x.csv", b"text,lbl\na,b\n", "no column 'label', it has text, lbl: set"),
    "no label": ("x.csv", b"text,label\na dog,pets\na dog,\n", "line 3 of x.csv has ''"),
    "too few fields": ("x.csv", b"text,label\na dog\n", "line 2 of x.csv has None"),
    "too many fields": ("x.csv", b"text,label\na, dog,pets\n", "line 2 of x.csv has more fields"),
    "an odd encoding": ("x.csv", "text,label\nä,b\n".encode("utf-16"), "as text in UTF-8"),
    "no JSON": ("x.jsonl", b'{"text": "a"\n', "line 1 of x.jsonl is no JSON"),
    "nested JSON": ("x.jsonl", b"[" * 100_000, "line 1 of x.jsonl is no JSON"),
    "no object": ("x.jsonl", b"\n[1]\n", "line 2 of x.jsonl is a JSON object, not a list"),
    "a number for a text": ("x.jsonl", b'{"text": 3, "label": "b"}\n', "'text' is a text, line 1"),
    "a float for a label": ("x.jsonl", b'{"text": "a", "label": 0.5}\n', "has 0.5: repair it"),
    "a truth for a label": ("x.jsonl", b'{"text": "a", "label": true}\n', "has True: repair it"),
    "null for a label": ("x.jsonl", b'{"text": "a", "label": null}\n', "has None: repair it"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files(tmp_path: Path, pool: Any, name: str) -> None:
    file, content, words = BROKEN[name]
    (tmp_path / file).write_bytes(content)
    with pytest.raises(DataError, match=words) as error:
        pool(str(tmp_path / file))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("path", ["nothing.csv", "a\x00b", "", ".", 3, None])
def test_what_is_no_file(pool: Any, path: Any) -> None:
    with pytest.raises(DataError, match="is no file: name one"):
        pool(path)


def test_a_text_without_tokens(tmp_path: Path, pool: Any, tokenizer: str) -> None:
    content = json.loads((Path(tokenizer) / "tokenizer.json").read_text())
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "tokenizer.json").write_text(json.dumps({**content, "post_processor": None}))
    (plain / "tokenizer_config.json").write_bytes(
        (Path(tokenizer) / "tokenizer_config.json").read_bytes()
    )
    file = as_csv(tmp_path / "x.csv", [("a dog", "pets"), ("  ", "money")])
    assert len(pool(file)) == 2
    with pytest.raises(DataError, match=r"at least one token, that of line 3 of x.csv has none"):
        pool(file, tokenizer=str(plain))


def test_tokenizers_that_are_refused(tmp_path: Path, pool: Any, tokenizer: str) -> None:
    file = as_csv(tmp_path / "x.csv", ROWS)
    with pytest.raises(ConfigurationError, match="nothing is downloaded, and there is no folder"):
        pool(file, tokenizer="bert-base-uncased")
    with pytest.raises(ConfigurationError, match="a folder with tokenizer.json"):
        pool(file, tokenizer=str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(QueristError, match="unlike .*: write it anew"):
        pool(file, tokenizer=str(tmp_path))
    config = json.loads((Path(tokenizer) / "tokenizer_config.json").read_text())
    del config["pad_token"]
    (tmp_path / "tokenizer.json").write_bytes((Path(tokenizer) / "tokenizer.json").read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match="has no padding token"):
        pool(file, tokenizer=str(tmp_path))


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "8", None])
def test_a_length_that_is_none(tmp_path: Path, pool: Any, value: Any) -> None:
    with pytest.raises(DataError, match="a number of tokens from 1"):
        pool(as_csv(tmp_path / "x.csv", ROWS), max_length=value)


@pytest.mark.parametrize("value", [[], ["pets"], ["pets", "pets"], "pets", 3])
def test_classes_that_are_none(tmp_path: Path, pool: Any, value: Any) -> None:
    with pytest.raises(DataError, match="two or more different names"):
        pool(as_csv(tmp_path / "x.csv", ROWS), classes=value)


def test_a_column_of_too_many_values(
    tmp_path: Path, pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, "_MOST_CLASSES", 1)
    with pytest.raises(DataError, match="has more than 1 different values"):
        pool(as_csv(tmp_path / "x.csv", ROWS))
