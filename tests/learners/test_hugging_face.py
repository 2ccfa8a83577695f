from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from querist.config.learner import LearnerSettings
from querist.errors import ConfigurationError, LearnerError, QueristError
from querist.learners import TorchLearner, build_learner, hf_image_classifier
from querist.learners.hugging_face import HuggingFaceModule, hf_sequence_classifier
from querist.pools import LabeledSet, TensorPool
from querist.protocols import Learner
from querist.randomness import seeded_globally
from querist.registry import build
from querist.testing import LearnerContract

pytest.importorskip("transformers", reason="the extra `transformers` is not there")

SEQUENCE, IMAGE = "hf_sequence_classifier", "hf_image_classifier"
BERT = {
    "model_type": "bert",
    "vocab_size": 20,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 8,
    "initializer_range": 0.2,
}
DISTILBERT = {
    "model_type": "distilbert", "vocab_size": 20, "dim": 16, "n_layers": 1, "n_heads": 2,
    "hidden_dim": 16, "max_position_embeddings": 8,
}  # fmt: skip
GPT2 = {
    "model_type": "gpt2", "vocab_size": 20, "n_embd": 16, "n_layer": 1, "n_head": 2,
    "n_positions": 8, "bos_token_id": 1, "eos_token_id": 1,
}  # fmt: skip
VIT = {
    "model_type": "vit", "image_size": 8, "patch_size": 2, "num_channels": 1, "hidden_size": 16,
    "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
}  # fmt: skip
RESNET = {
    "model_type": "resnet", "num_channels": 1, "embedding_size": 8, "hidden_sizes": [8, 16],
    "depths": [1, 1], "layer_type": "basic",
}  # fmt: skip
IDS = torch.tensor([[2, 5, 6, 3, 0, 0], [2, 7, 3, 0, 0, 0], [2, 9, 9, 9, 9, 3]])


def made(seed: int = 0, classes: int | None = 3, **options: Any) -> HuggingFaceModule:
    """A sequence classifier in evaluation mode."""
    with seeded_globally(seed):
        found = hf_sequence_classifier(**options)
        found.learns(classes)
    return found.eval()  # type: ignore[return-value]


def logits(module: torch.nn.Module, features: torch.Tensor = IDS) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = module(features)
    return found


def learner(
    name: str, options: dict[str, Any], classes: int | None, sample: torch.Tensor, **training: Any
) -> TorchLearner:
    """A learner as a run makes it."""
    settings = LearnerSettings.model_validate(
        {"learner": {"name": name, "options": options}, "training": {"threads": 1, **training}}
    )
    found = build_learner(settings, classes=classes, sample=sample)
    assert isinstance(found, TorchLearner)
    return found


def topics(n: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    """Sequences of three classes, each with a token of its own among others."""
    draw = torch.Generator().manual_seed(2)
    classes = torch.arange(n) % 3
    ids = torch.randint(8, 20, (n, 6), generator=draw)
    ids[:, 0] = 2
    ids[torch.arange(n), torch.randint(1, 4, (n,), generator=draw)] = 4 + classes
    ids[n // 2 :, 4:] = 0
    return ids, classes


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A model of three classes, as save_pretrained leaves it."""
    made(classes=3, config=BERT).model.save_pretrained(tmp_path / "bert")
    return str(tmp_path / "bert")


# From a configuration ----------------------------------------------------------------------------


@pytest.mark.parametrize("config", [BERT, DISTILBERT, {**GPT2, "pad_token_id": 0}])
def test_what_is_padding_does_not_matter(config: dict[str, Any]) -> None:
    module = made(config=config)
    full = logits(module, IDS[:2])
    assert full.shape == (2, 3)
    torch.testing.assert_close(logits(module, IDS[:2, :4]), full)
    assert not torch.allclose(full[0], full[1])


def test_padding_of_ones_own() -> None:
    module = made(config=BERT, pad_token_id=9)
    text = IDS[:1, :3]
    padded = torch.cat([text, torch.full((1, 3), 9)], dim=1)
    torch.testing.assert_close(logits(module, padded), logits(module, text))
    assert not torch.allclose(logits(module, IDS[:1]), logits(module, text))


def test_first_weights_come_from_the_seed() -> None:
    first, again, other = made(config=BERT), made(config=BERT), made(1, config=BERT)
    assert torch.equal(logits(first), logits(again))
    assert not torch.equal(logits(first), logits(other))


@pytest.mark.parametrize("classes", [2, 5, None])
def test_as_many_outputs_as_classes(classes: int | None) -> None:
    found = learner(SEQUENCE, {"config": BERT}, classes, IDS[:1])
    assert logits(found.module).shape == (3, classes or 1)
    assert found.loss == ("mse" if classes is None else "cross_entropy")


def test_a_number_of_outputs_of_ones_own() -> None:
    found = learner(SEQUENCE, {"config": BERT, "num_labels": 1}, 2, IDS[:1])
    assert found.loss == "bce_with_logits"
    with pytest.raises(LearnerError, match="gives 4 numbers per sample but the pool has 3 classes"):
        learner(SEQUENCE, {"config": BERT, "num_labels": 4}, 3, IDS[:1])


def test_without_a_number_of_outputs() -> None:
    with pytest.raises(LearnerError, match="nobody has said how many: set num_labels"):
        hf_sequence_classifier(config=BERT)(IDS)
    assert hf_sequence_classifier(config=BERT, num_labels=3)(IDS).shape == (3, 3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "set model or config, not none of them"),
        ({"model": "x", "config": BERT}, "set model or config, not both of them"),
        ({"model": "bert-base-uncased"}, "nothing is downloaded, and there is no folder 'bert-"),
        ({"model": "google/vit-base"}, "there is no folder 'google/vit-base'"),
        ({"model": ""}, "there is no folder ''"),
        ({"model": "a\0b"}, "there is no folder"),
        ({"model": 3}, "there is no folder 3"),
        ({"model": "."}, "a folder with config.json"),
        ({"config": {}}, "needs a model_type"),
        ({"config": [1]}, "a mapping with model_type"),
        ({"config": {"model_type": "brt"}}, "no model type .* 'brt': did you mean 'bert'"),
        ({"config": {"model_type": "resnet"}}, "no ModelForSequenceClassification .*'resnet'"),
        ({"config": {**BERT, "hiden_size": 8}}, "'hiden_size': did you mean 'hidden_size'"),
        ({"config": {**BERT, "hidden_size": "x"}}, "refused config: .*hidden_size"),
        ({"config": {**BERT, "num_labels": 3}}, "the option num_labels says it"),
        ({"config": {**BERT, "dtype": "bfloat16"}}, "training.dtype says it"),
        ({"config": {**BERT, "auto_map": {"AutoModel": "x--y.Z"}}}, "no key .* 'auto_map'"),
        ({"config": {**BERT, "_attn_implementation": "a/kernel"}}, "no key .*_attn_impl"),
        ({"config": {**BERT, "attn_implementation": "a/kernel"}}, "no key .*attn_impl"),
        ({"config": BERT, "new_head": True}, "new_head has no effect with config"),
        ({"config": BERT, "num_labels": 0}, "a number of outputs from 1, not 0"),
    ],
)  # fmt: skip
def test_options_that_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as error:
        build("learner", SEQUENCE, options)
    assert "\n" not in str(error.value)


def test_sizes_that_do_not_fit_each_other() -> None:
    with pytest.raises(ConfigurationError, match="refused config: .*not a multiple"):
        made(config={**BERT, "hidden_size": 15})


def test_a_model_that_does_not_know_padding() -> None:
    with pytest.raises(ConfigurationError, match="no pad_token_id: set pad_token_id"):
        made(config=GPT2)
    assert logits(made(config=GPT2, pad_token_id=0)).shape == (3, 3)


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        (torch.zeros(1, 6), "reads token ids .*not torch.float32 of shape"),
        (torch.zeros(1, 2, 6, dtype=torch.int64), "reads token ids"),
        (torch.full((1, 6), 20), "below the model's vocab_size 20, the highest here is 20"),
        (torch.ones(1, 9, dtype=torch.int64), r"cannot take a sample of shape \(9,\)"),
    ],
)
def test_features_that_a_sequence_classifier_cannot_read(sample: torch.Tensor, words: str) -> None:
    with pytest.raises(LearnerError, match=words):
        learner(SEQUENCE, {"config": BERT}, 3, sample)


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        (torch.zeros(1, 64), "reads floats .*not torch.float32 of shape .*reshape them"),
        (torch.zeros(1, 1, 8, 8, dtype=torch.uint8), "reads floats"),
        (torch.zeros(1, 1, 9, 9), r"cannot take a sample of shape \(1, 9, 9\)"),
        (torch.zeros(1, 3, 8, 8), r"cannot take a sample of shape \(3, 8, 8\)"),
    ],
)
def test_features_that_an_image_classifier_cannot_read(sample: torch.Tensor, words: str) -> None:
    with pytest.raises(LearnerError, match=words):
        learner(IMAGE, {"config": VIT}, 10, sample)


# From a folder -----------------------------------------------------------------------------------


def test_a_folder_gives_its_weights(folder: str) -> None:
    assert torch.equal(logits(made(5, model=folder)), logits(made(config=BERT)))


def test_a_folder_without_a_head(folder: str, caplog: pytest.LogCaptureFixture) -> None:
    whole = made(config=BERT).model
    shutil.rmtree(folder)
    whole.bert.save_pretrained(folder)
    with caplog.at_level(logging.INFO, "querist"):
        module = made(4, classes=7, model=folder)
    assert logits(module).shape == (3, 7)
    assert torch.equal(
        module.model.bert.embeddings.word_embeddings.weight,
        whole.bert.embeddings.word_embeddings.weight,
    )
    assert "2 weights of" in caplog.text
    assert "classifier.weight" in caplog.text
    assert torch.equal(logits(module), logits(made(4, classes=7, model=folder)))


def test_a_head_for_other_classes(folder: str) -> None:
    with pytest.raises(LearnerError, match=r"for another number of classes than 5 .*set new_head"):
        made(classes=5, model=folder)
    module = made(classes=5, model=folder, new_head=True)
    assert logits(module).shape == (3, 5)
    same = "model.bert.encoder.layer.0.output.dense.weight"
    assert torch.equal(module.state_dict()[same], made(model=folder).state_dict()[same])


def test_pickled_weights_are_not_read(folder: str) -> None:
    weights = Path(folder) / "model.safetensors"
    torch.save(made(config=BERT).model.state_dict(), Path(folder) / "pytorch_model.bin")
    weights.unlink()
    with pytest.raises(
        ConfigurationError, match=r"does not have \(only pytorch_model.bin, a pickle"
    ):
        made(model=folder)


def test_code_of_a_folder_is_not_run(folder: str) -> None:
    config = Path(folder) / "config.json"
    content = json.loads(config.read_text())
    content |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine"}}
    config.write_text(json.dumps(content))
    (Path(folder) / "mine.py").write_text("raise SystemExit('it was run')\n")
    with pytest.raises(ConfigurationError, match="transformers refused model"):
        made(model=folder)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("content", [b"", b"{}", b"\x80\x04.", b"[1]"])
def test_damaged_folders(folder: str, file: str, content: bytes) -> None:
    (Path(folder) / file).write_bytes(content)
    with pytest.raises(QueristError, match="transformers refused model|most of the weights"):
        made(model=folder)


def test_weights_of_another_model(folder: str) -> None:
    made(config=DISTILBERT).model.config.save_pretrained(folder)
    with pytest.raises(LearnerError, match="most of the weights.*config.json is of another model"):
        made(model=folder)


# As learners -------------------------------------------------------------------------------------


def test_it_learns_from_sequences(job: Any) -> None:
    ids, classes = topics()
    data = LabeledSet(TensorPool(ids), torch.arange(60), classes)
    found = learner(SEQUENCE, {"config": BERT}, 3, ids[:1])
    settings = {"optimizer": {"name": "AdamW", "options": {"lr": 0.01}}, "max_training_epochs": 30}
    found.fit(data, job(**settings))
    assert float((found.predict(ids) == classes).float().mean()) > 0.9
    proba = found.predict_proba(ids)
    assert proba.shape == (60, 3)
    torch.testing.assert_close(proba.sum(1), torch.ones(60))


@pytest.mark.parametrize("config", [VIT, RESNET], ids=["vit", "resnet"])
def test_it_learns_from_images(job: Any, config: dict[str, Any]) -> None:
    pool = build("pool", "digits", {"images": True})
    train, test = torch.arange(0, 1600, 2), torch.arange(1, 1600, 2)
    data = LabeledSet(pool, train, pool.targets(train))
    found = learner(IMAGE, {"config": config}, 10, pool.features(train[:1]))
    settings = {"optimizer": {"name": "AdamW", "options": {"lr": 0.003}}, "max_training_epochs": 12}
    found.fit(data, job(**settings))
    accuracy = (found.predict(pool.features(test)) == pool.targets(test)).float().mean()
    assert accuracy > 0.6


def test_a_number_is_learned_from_a_sequence(job: Any) -> None:
    ids, classes = topics()
    data = LabeledSet(TensorPool(ids), torch.arange(60), classes.double())
    found = learner(SEQUENCE, {"config": BERT}, None, ids[:1])
    settings = {"optimizer": {"name": "AdamW", "options": {"lr": 0.01}}, "max_training_epochs": 30}
    found.fit(data, job(**settings))
    assert found.predict(ids).shape == (60,)
    assert float((found.predict(ids) - classes).square().mean()) < 0.2


@pytest.mark.parametrize("source", ["config", "model"])
def test_state_files_bring_it_back(job: Any, folder: str, source: str) -> None:
    ids, classes = topics()
    data = LabeledSet(TensorPool(ids), torch.arange(60), classes)
    options = {"config": BERT} if source == "config" else {"model": folder}
    found = learner(SEQUENCE, options, 3, ids[:1])
    first = found.state_files()
    settings = {"max_training_epochs": 2, "reset_optimizer": False}
    found.fit(data, job(**settings))
    other = learner(SEQUENCE, options, 3, ids[:1])
    assert other.state_files() == first
    other.load_state_files(found.state_files())
    assert torch.equal(other.predict_proba(ids), found.predict_proba(ids))
    for one in (found, other):
        one.fit(data, job(iteration=1, **settings))
    assert other.state_files() == found.state_files()
    other.reset()
    assert torch.equal(
        other.predict_proba(ids), learner(SEQUENCE, options, 3, ids[:1]).predict_proba(ids)
    )


def test_shrink_and_perturb(job: Any) -> None:
    ids, classes = topics()
    data = LabeledSet(TensorPool(ids), torch.arange(60), classes)
    found = learner(SEQUENCE, {"config": BERT}, 3, ids[:1])
    start = {"mode": "shrink_and_perturb", "shrink": 0.0, "perturb": 1.0}
    report = found.fit(data, job(iteration=1, warm_start=start, max_training_epochs=1))
    assert report.steps > 0


# Off the network ---------------------------------------------------------------------------------


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    import socket

    tried: list[Any] = []

    def refuse(self: Any, address: Any) -> None:
        tried.append(address)
        raise OSError("a test has cut the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **_: refuse(None, address))
    return tried


def test_nothing_asks_the_network(no_network: list[Any], folder: str) -> None:
    made(model=folder)
    made(config=BERT)
    with pytest.raises(ConfigurationError):
        made(model="bert-base-uncased")
    assert no_network == []


def test_it_is_imported_only_where_it_is_used() -> None:
    code = (
        "import sys, os, querist.learners, querist.pools, querist.registry as r\n"
        "r.check_options('learner', 'hf_sequence_classifier', {'model': 'x'})\n"
        "assert 'transformers' not in sys.modules and 'tokenizers' not in sys.modules\n"
        "from querist.offline import import_transformers\n"
        "import_transformers()\n"
        "import huggingface_hub\n"
        "assert huggingface_hub.constants.HF_HUB_OFFLINE\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_with_another_version_of_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    real = builtins.__import__

    def refuse(name: str, *args: Any, **more: Any) -> Any:
        if name == "transformers":
            raise ImportError("tokenizers<=0.1 is required,\nbut found tokenizers==0.2")
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ConfigurationError, match="imported, .*required, but found tokenizers==0.2"):
        hf_image_classifier(config=VIT)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'querist\[transformers\]'"):
        hf_image_classifier(config=VIT)


# The contract of learners ------------------------------------------------------------------------


class Reading(torch.nn.Module):
    """What a Hugging Face model makes of the contract's features, put into a form it reads."""

    def __init__(
        self, model: torch.nn.Module, read: Callable[[torch.Tensor], torch.Tensor]
    ) -> None:
        super().__init__()
        self.model, self.read = model, read

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.model(self.read(features))
        return found


def as_tokens(features: torch.Tensor) -> torch.Tensor:
    return 1 + (features * 4).long()


def as_images(features: torch.Tensor) -> torch.Tensor:
    return features.reshape(-1, 1, 2, 2).repeat_interleave(4, 2).repeat_interleave(4, 3)


LOW_LR = {"optimizer": {"name": "AdamW", "options": {"lr": 0.01}}}


class TestSequenceClassifier(LearnerContract):
    training: ClassVar = LOW_LR

    def make(self) -> Learner:
        options = {"config": BERT, "num_labels": 3}
        return self.learner_of(lambda: Reading(hf_sequence_classifier(**options), as_tokens))


class TestImageClassifier(LearnerContract):
    training: ClassVar = LOW_LR

    def make(self) -> Learner:
        options = {"config": RESNET, "num_labels": 3}
        return self.learner_of(lambda: Reading(hf_image_classifier(**options), as_images))


@pytest.mark.parametrize(
    ("name", "more"),
    [("ensemble", {"n": 2}), ("mc_dropout", {"samples": 2}), ("laplace", {"samples": 2})],
)
def test_as_a_member(job: Any, name: str, more: dict[str, int]) -> None:
    ids, classes = topics()
    member = {"name": SEQUENCE, "options": {"config": BERT}}
    settings = LearnerSettings.model_validate(
        {
            "learner": {"name": name, "options": {"member": member, **more}},
            "training": {"threads": 1, "max_training_epochs": 2},
        }
    )
    found = build_learner(settings, classes=3, sample=ids[:1])
    found.fit(LabeledSet(TensorPool(ids), torch.arange(60), classes), job())
    samples = found.predict_proba_samples(ids)  # type: ignore[attr-defined]
    assert samples.shape == (2, 60, 3)
    assert not torch.allclose(samples[0], samples[1])
