"""Classifiers of Hugging Face's transformers, from a local folder or from a configuration.

They are torch modules, so `TorchLearner` trains them as it trains any other. Nothing is downloaded,
no code that comes with a model is run, and weights are read from safetensors only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from querist.errors import ConfigurationError, LearnerError, QueristError, UnknownNameError
from querist.offline import import_transformers, local_folder, quietly
from querist.registry import register

_log = logging.getLogger(__name__)
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_SAID_ELSEWHERE = {
    "num_labels": "the option num_labels",
    "id2label": "the option num_labels",
    "label2id": "the option num_labels",
    "problem_type": "training.loss",
    "dtype": "training.dtype",
    "torch_dtype": "training.dtype",
}
_SHOWN = 5


class HuggingFaceModule(torch.nn.Module):
    """Maps features to the logits of a transformers model.

    The model is made once the number of its outputs is known: from `num_labels`, or when `learns`
    is called.

    Args:
        make: `number of outputs -> model`.
        inputs: `(model, features) -> what the model is called with`.
        num_labels: number of outputs; None = as many as there are classes.
    """

    model: Any

    def __init__(
        self,
        make: Callable[[int], torch.nn.Module],
        inputs: Callable[[Any, torch.Tensor], dict[str, torch.Tensor]],
        num_labels: int | None,
    ) -> None:
        super().__init__()
        self._make, self._inputs = make, inputs
        self.model = None if num_labels is None else make(num_labels)

    def learns(self, classes: int | None) -> None:
        """Make the model for so many classes, or for one number, unless it is there already."""
        if self.model is None:
            self.model = self._make(classes or 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits `(n, c)`.

        Raises:
            LearnerError: the features are not what the model reads.
        """
        if self.model is None:
            raise LearnerError(
                "the model has as many outputs as there are classes, and nobody has said how many: "
                "set num_labels"
            )
        if not len(features):  # which some models cannot reshape
            return self.forward(features.new_zeros(1, *features.shape[1:]))[:0]
        try:
            logits: torch.Tensor = self.model(
                **self._inputs(self.model, features), return_dict=True
            ).logits
        except IndexError as error:  # an embedding, on the CPU
            raise LearnerError(
                f"token ids are below the model's vocab_size {self.model.config.vocab_size}, the "
                f"highest here is {int(features.max())}: use the model's own tokenizer, or raise "
                "vocab_size"
            ) from error
        return logits


@register("learner", "hf_sequence_classifier")
def hf_sequence_classifier(
    model: str | None = None,
    config: Mapping[str, Any] | None = None,
    num_labels: int | None = None,
    pad_token_id: int | None = None,
    new_head: bool = False,
) -> HuggingFaceModule:
    """A Hugging Face model that classifies sequences of token ids, such as those of `texts`.

    Features are integers `(n, length)`. Tokens that are `pad_token_id` are masked out.

    Args:
        model: a local folder with `config.json` and safetensors weights.
        config: or a configuration to begin with random weights from:
            `{model_type: bert, hidden_size: 32, ...}`.
        num_labels: number of outputs; default: one a class, or one number for regression.
        pad_token_id: the id of padding; default: what the configuration says.
        new_head: whether a head for another number of classes in `model` is replaced by a fresh
            one, and not refused.

    Raises:
        ConfigurationError: there is no such folder, or it or the configuration cannot be used.
    """
    make = _maker("AutoModelForSequenceClassification", model, config, num_labels, new_head)

    def padded(outputs: int) -> torch.nn.Module:
        made: Any = make(outputs)
        if pad_token_id is not None:
            made.config.get_text_config().pad_token_id = pad_token_id
        if not isinstance(made.config.get_text_config().pad_token_id, int):
            raise ConfigurationError(
                "a sequence classifier must know what padding is, and this model's configuration "
                "has no pad_token_id: set pad_token_id to the tokenizer's"
            )
        return made  # type: ignore[no-any-return]

    return HuggingFaceModule(padded, _token_inputs, num_labels)


def _token_inputs(model: Any, features: torch.Tensor) -> dict[str, torch.Tensor]:
    if features.is_floating_point() or features.ndim != 2:
        raise LearnerError(
            f"a sequence classifier reads token ids (n, length), integers, not {features.dtype} of "
            f"shape {tuple(features.shape)}: use the pool `texts`"
        )
    mask = (features != model.config.get_text_config().pad_token_id).long()
    return {"input_ids": features.long(), "attention_mask": mask}


@register("learner", "hf_image_classifier")
def hf_image_classifier(
    model: str | None = None,
    config: Mapping[str, Any] | None = None,
    num_labels: int | None = None,
    new_head: bool = False,
) -> HuggingFaceModule:
    """A Hugging Face model that classifies images.

    Features are floats `(n, channels, height, width)`, scaled as the model wants them: a folder's
    `preprocessor_config.json` says with which mean and deviation it was trained.

    Args:
        model: a local folder with `config.json` and safetensors weights.
        config: or a configuration to begin with random weights from:
            `{model_type: vit, image_size: 32, ...}`.
        num_labels: number of outputs; default: one a class, or one number for regression.
        new_head: whether a head for another number of classes in `model` is replaced by a fresh
            one, and not refused.

    Raises:
        ConfigurationError: there is no such folder, or it or the configuration cannot be used.
    """
    make = _maker("AutoModelForImageClassification", model, config, num_labels, new_head)
    return HuggingFaceModule(make, _image_inputs, num_labels)


def _image_inputs(model: Any, features: torch.Tensor) -> dict[str, torch.Tensor]:
    if not features.is_floating_point() or features.ndim != 4:
        raise LearnerError(
            "an image classifier reads floats (n, channels, height, width), not "
            f"{features.dtype} of shape {tuple(features.shape)}: reshape them in the pool"
        )
    return {"pixel_values": features}


def _maker(
    auto: str,
    model: str | None,
    config: Mapping[str, Any] | None,
    num_labels: int | None,
    new_head: bool,
) -> Callable[[int], torch.nn.Module]:
    """What makes a model of one of transformers' auto classes, checked as far as it can be now."""
    if (model is None) == (config is None):
        raise ConfigurationError(
            "a Hugging Face model comes from either a folder or a configuration: set model or "
            f"config, not {'none' if model is None else 'both'} of them"
        )
    if num_labels is not None and (isinstance(num_labels, bool) or num_labels < 1):
        raise ConfigurationError(f"num_labels is a number of outputs from 1, not {num_labels!r}")
    if new_head and model is None:
        raise ConfigurationError(
            "new_head has no effect with config, where all weights are fresh: remove it"
        )
    transformers = import_transformers()
    kind = getattr(transformers, auto)
    if model is not None:
        folder = local_folder(model, "model", "config.json")
        _check_weights(folder)
        return lambda outputs: _from_folder(kind, folder, outputs, new_head)
    assert config is not None
    settings = _read_config(transformers, config)
    if type(settings) not in kind._model_mapping:
        raise ConfigurationError(
            f"transformers has no {auto.removeprefix('Auto')} of the model type "
            f"{settings.model_type!r}: choose another model_type"
        )
    return lambda outputs: _from_config(transformers, kind, settings, outputs)


def _check_weights(folder: Path) -> None:
    if any((folder / name).is_file() for name in _WEIGHTS):
        return
    pickled = sorted(path.name for path in folder.glob("*.bin"))
    raise ConfigurationError(
        f"weights are read from {_WEIGHTS[0]}, which {str(folder)!r:.200} does not have"
        + (f" (only {pickled[0]:.100}, a pickle, which could run code)" if pickled else "")
        + ": write it with save_pretrained"
    )


def _read_config(transformers: Any, config: Mapping[str, Any]) -> Any:
    """The configuration, every key of it known to the model type."""
    if not isinstance(config, Mapping):
        raise ConfigurationError(f"config is a mapping with model_type, not {config!r:.100}")
    options = dict(config)
    model_type = options.pop("model_type", None)
    known_types = list(transformers.CONFIG_MAPPING)
    if not isinstance(model_type, str):
        raise ConfigurationError("config needs a model_type, such as bert or vit: add it")
    if model_type not in known_types:
        raise UnknownNameError("model type of transformers", model_type, known_types)
    kind = transformers.CONFIG_MAPPING[model_type]
    known = {
        key
        for key in (*kind().to_dict(), *kind.attribute_map)
        if not key.startswith("_") and key not in ("model_type", "architectures")
    }
    for key in options:
        if key in _SAID_ELSEWHERE:
            raise ConfigurationError(
                f"config.{key} has no effect: remove it, {_SAID_ELSEWHERE[key]} says it"
            )
        if key not in known:
            raise UnknownNameError(
                f"key of a {model_type} configuration", key, known - set(_SAID_ELSEWHERE)
            )
    with _refusals("config"):
        return kind(**options)


def _from_config(transformers: Any, kind: Any, settings: Any, outputs: int) -> torch.nn.Module:
    with _refusals("config"), quietly(transformers):
        mine = type(settings).from_dict({**settings.to_dict(), "num_labels": outputs})
        made: torch.nn.Module = kind.from_config(mine, trust_remote_code=False)
    return made


def _from_folder(kind: Any, folder: Path, outputs: int, new_head: bool) -> torch.nn.Module:
    with _refusals(f"model {str(folder)!r:.200}"), quietly(import_transformers()):
        made, about = kind.from_pretrained(
            str(folder),
            num_labels=outputs,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    mismatched = sorted(str(key[0]) for key in about["mismatched_keys"])
    if mismatched and not new_head:
        raise LearnerError(
            f"model {str(folder)!r:.200} has a head for another number of classes than {outputs} "
            f"({', '.join(mismatched[:_SHOWN])}): set new_head to true to begin with a fresh one"
        )
    missing, all_of_them = sorted(about["missing_keys"]), len(made.state_dict())
    if len(missing) > all_of_them / 2:
        raise LearnerError(
            f"a folder has most of the weights of its model, and {str(folder)!r:.200} has "
            f"{all_of_them - len(missing)} of the {all_of_them} of a {type(made).__name__}: its "
            "config.json is of another model"
        )
    if fresh := [*missing, *mismatched]:
        _log.info(
            "%d weights of %s are not in its folder and begin at random: %s%s",
            len(fresh), folder, ", ".join(fresh[:_SHOWN]), "..." if len(fresh) > _SHOWN else "",
        )  # fmt: skip
    return made  # type: ignore[no-any-return]


@contextmanager
def _refusals(what: str) -> Iterator[None]:
    """Whatever transformers raises inside, in one sentence."""
    try:
        yield
    except QueristError:
        raise
    except Exception as error:  # a folder may hold anything, and its readers raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        raise ConfigurationError(f"transformers refused {what}: {reason}") from error
