"""Writes the sentences and a tokenizer made from them: `python -m examples.texts.prepare`."""

import csv
import sys
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import WordLevelTrainer
from transformers import PreTrainedTokenizerFast

from examples.texts.sentences import sentences

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def prepare(folder: Path, train: int = 900, test: int = 300) -> None:
    """Write `train.csv`, `test.csv` and the folder `tokenizer`."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = sentences(train + test, seed=0)
    for name, part in (("train", rows[:train]), ("test", rows[train:])):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "topic"), *part])
    tokenizer_of([text for text, _ in rows[:train]]).save_pretrained(folder / "tokenizer")


def tokenizer_of(texts: list[str]) -> PreTrainedTokenizerFast:
    """A tokenizer with a token for each word of `texts`, which opens and closes them as BERT's."""
    words = Tokenizer(WordLevel(unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    words.train_from_iterator(texts, WordLevelTrainer(special_tokens=SPECIAL, show_progress=False))
    words.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(token, words.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )


if __name__ == "__main__":
    prepare(Path(sys.argv[1] if len(sys.argv) > 1 else "texts"))
