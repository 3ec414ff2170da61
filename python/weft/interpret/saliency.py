"""What an output depends on: gradients of its log-probability with respect to the inputs (Simonyan et al. 2014)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import Tensor, enable_grad
from ..data.pairs import Pair
from ..errors import ConfigError, choice_error
from ..models import EncoderDecoder, Forecaster
from ..models.labelled import LabelledModel
from ..nn import evaluating
from ..nn import functional as F

FORMS = ("norm", "input")


def input_gradients(model: Any, layer: Any, run: Callable[[], Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """What `layer` (a module of the model, called once) gave, and the gradient of `run()`, one number, with respect to it."""
    leaves: list[Tensor] = []

    def forward(*inputs: Any, **options: Any) -> Tensor:
        given = type(layer).forward(layer, *inputs, **options)
        leaves.append(Tensor(np.array(given), requires_grad=True))
        return leaves[-1]

    try:
        object.__setattr__(layer, "forward", forward)
        with evaluating(model), enable_grad():
            run().backward()
    finally:
        layer.__dict__.pop("forward", None)
        model.zero_grad()
    gradient = leaves[0].grad
    return leaves[0].numpy(), np.zeros_like(leaves[0].numpy()) if gradient is None else np.array(gradient)


def reduced(values: np.ndarray, gradients: np.ndarray, form: str) -> np.ndarray:
    """[..., E] → [...]: the norm of the gradient, or the product of gradient and input, whose sum says how much the input raised the
    output."""
    if form not in FORMS:
        raise choice_error("saliency", "form", FORMS, form)
    wide = gradients.astype(np.float64)
    return np.sqrt((wide**2).sum(-1)) if form == "norm" else (wide * values).sum(-1)


def saliency(model: Any, source: Any, target: Any = None, *, form: str = "norm") -> np.ndarray:
    """How much the log-probability of each target token depends on each source token: [T, S], the end counted as a target.

    `model`: a `Seq2Seq` or `Transformer`; `target` by default what the model says. `form` 'norm' is the length of the gradient with
    respect to the token's embedding (of a float sequence: to the step's numbers), 'input' its product with that (signed). Of a
    `SequenceClassifier` a row for the class, of a `SequenceTagger` one for each tag (by the scores of its step alone), of a
    `SequenceRegressor` one for each number, which itself stands in the place of a log-probability. Of a `Forecaster`, whose source is a
    history: how much each step of the horizon (the sum of its columns) depends on each step of the window, [horizon, window].

    >>> model = weft.models.Seq2Seq.from_pairs([weft.data.Pair("abc", "cba")], hidden=16)
    >>> weft.interpret.saliency(model, "abc", "cb").shape
    (3, 3)
    >>> model = weft.models.SequenceClassifier.from_examples([("good", 1), ("bad", 0)], hidden=16)
    >>> weft.interpret.saliency(model, "bad").shape
    (1, 3)
    """
    if isinstance(model, LabelledModel):
        return _of_labelled(model, source, target, form)
    if isinstance(model, Forecaster):
        return _of_forecaster(model, source, form)
    if not isinstance(model, EncoderDecoder):
        raise ConfigError(f"[saliency] model: expected one that reads a sequence before it answers, got a {type(model).__name__}")
    target = model.generate(source)[0].text if target is None else target
    steps = len(model.target_vocabulary.encode(target)) + 1
    # A row of the batch for each target step: one backward pass gives all gradients.
    batch = model.collate([Pair(source, target)] * steps)

    def run() -> Tensor:
        logits = model.forward(batch)
        each = logits[np.arange(steps), np.arange(steps)]
        return -F.cross_entropy(each, batch.target_out[0, :steps], reduction="sum")

    return reduced(*input_gradients(model, model.source_embedding, run), form)


def _of_labelled(model: LabelledModel, source: Any, target: Any, form: str) -> np.ndarray:
    label = model.predict([source])[0] if target is None else target
    [(numbers, wanted)] = model.encode_examples([(source, label)])
    count = model.outputs(wanted)
    batch = model.collate([(numbers, wanted)] * count)

    def explained(batch: Any) -> Tensor:
        return model.said(model.forward(batch), wanted).sum()

    if not model.reader.features:
        return reduced(*input_gradients(model, model.reader.embedding, lambda: explained(batch)), form)
    values, gradients = _leaf_gradients(model, np.array(batch.inputs), lambda leaf: explained(batch._replace(inputs=leaf)))
    return reduced(values, gradients, form)


def _of_forecaster(model: Forecaster, history: Any, form: str) -> np.ndarray:
    window = model.last_window(history)

    def run(leaf: Tensor) -> Tensor:
        each = np.arange(model.horizon)
        return (model.ahead(leaf)[each, each] * model.deviation.numpy().astype(leaf.dtype)).sum()

    values, gradients = _leaf_gradients(model, np.repeat(window, model.horizon, 0), run)
    # In the data's units, as what is forecast.
    deviation, mean = (t.numpy().astype(np.float64) for t in (model.deviation, model.mean))
    return reduced(values * deviation + mean, gradients / deviation, form)


def _leaf_gradients(model: Any, values: np.ndarray, run: Callable[[Any], Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers that a model reads, and the gradient of `run(numbers)` with respect to them."""
    leaf = Tensor(values, requires_grad=True)
    with evaluating(model), enable_grad():
        run(leaf).backward()
    model.zero_grad()
    return values, np.zeros_like(values) if leaf.grad is None else leaf.grad.numpy()
