"""Metrics: pure functions of scores and labels.

Accuracies are fractions in [0, 1]; labels < 0 are unlabelled and never count.
"""

from __future__ import annotations

import torch
from torch import Tensor

from srnn._check import ShapeError, check_instance, check_range


def accuracy(scores: Tensor, labels: Tensor) -> float:
    """Return the fraction of labelled items whose highest score is their label. scores: (..., K);
    labels: (...).
    """
    correct, total = hits(scores, labels)
    return correct / max(1, total)


def hits(scores: Tensor, labels: Tensor) -> tuple[int, int]:
    """Return (correct, labelled) counts. scores: (..., K); labels: (...)."""
    _check_shapes(scores, labels)
    labelled = labels >= 0
    return int(((scores.argmax(-1) == labels) & labelled).sum()), int(labelled.sum())


def per_recording_accuracy(scores: Tensor, labels: Tensor) -> Tensor:
    """Return each recording's fraction of correct labelled steps, (B,), NaN without any. scores:
    (B, T, K); labels: (B, T).
    """
    _check_shapes(scores, labels)
    labelled = labels >= 0
    return ((scores.argmax(-1) == labels) & labelled).sum(1) / labelled.sum(1)


def confusion(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the (K, K) matrix of counts: row = label, column = prediction. scores: (..., K);
    labels: (...).
    """
    _check_shapes(scores, labels)
    if labels.is_floating_point() or labels.is_complex():
        raise ShapeError(f"metrics: labels are {labels.dtype}; expected integers.")
    k, labelled = scores.shape[-1], labels >= 0
    truth, guess = labels[labelled], scores.argmax(-1)[labelled]
    if truth.numel() and int(truth.max()) >= k:
        raise ShapeError(
            f"metrics: label {int(truth.max())} for {k} classes; expected labels 0 "
            f"… {k - 1}, or < 0 for unlabelled."
        )
    return torch.bincount(truth * k + guess, minlength=k * k).view(k, k)


def recall(matrix: Tensor) -> Tensor:
    """Return the recall of each class, (K,), NaN where a class has no label. matrix: from
    `confusion`.
    """
    check_instance("recall", "matrix", matrix, Tensor, "the (K, K) tensor that confusion gives")
    if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ShapeError(f"recall: matrix has shape {tuple(matrix.shape)}; expected (K, K).")
    return matrix.diagonal() / matrix.sum(1)


def anytime_accuracy(scores: Tensor, labels: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Return the accuracy if the decision were taken at each step, (T,): scores (B, T, K) up to
    that step, labels (B,). NaN without any label.

    A recording that has ended keeps the decision of its last step.
    """
    check_instance("metrics", "scores", scores, Tensor, "a torch tensor")
    if scores.dim() != 3:
        raise ShapeError(f"metrics: scores has shape {tuple(scores.shape)}; expected (B, T, K).")
    _check_shapes(scores[:, 0], labels)
    steps = torch.arange(scores.shape[1], device=scores.device)
    if lengths is not None:
        steps = torch.minimum(steps, (lengths.to(scores.device).unsqueeze(1) - 1).clamp(min=0))
    guess = scores.argmax(-1).gather(1, steps.expand(scores.shape[0], -1))
    return (guess == labels.unsqueeze(1))[labels >= 0].double().mean(0)


def credible_interval(correct: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Return the central credible interval of an accuracy: Beta(correct + 1, wrong + 1), flat prior
    (Bittar & Garner 2022, section 4).

    Items must be independent: give recordings, not the steps of one recording. Needs scipy (extra
    "data").
    """
    check_range("credible_interval: level", level, 0.0, 1.0)
    check_range("credible_interval: total", total, 0)
    check_range("credible_interval: correct", correct, 0, total)
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    return float(betaincinv(correct + 1, total - correct + 1, tail)), float(
        betaincinv(correct + 1, total - correct + 1, 1 - tail)
    )


def _check_shapes(scores: Tensor, labels: Tensor) -> None:
    for what, value in (("scores", scores), ("labels", labels)):
        check_instance("metrics", what, value, Tensor, "a torch tensor")
    if scores.dim() == 0 or scores.shape[:-1] != labels.shape:
        raise ShapeError(
            f"metrics: scores {tuple(scores.shape)} and labels "
            f"{tuple(labels.shape)}: expected (..., K) and (...)."
        )
