"""The training's loss, its gradient in closed form: by autograd it takes half of a step's time."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

_EPSILON = 1e-6


def faithful_loss(made: Tensor, wanted: Tensor, scale: int, gradient: float, colour: float) -> Tensor:
    """Charbonnier, plus ``gradient`` and ``colour`` times two means of the error.

    ``made``, ``wanted``: (n, 3 * scale**2, h, w), pictures before their pixel shuffle.
    With e = made - wanted these are the means of sqrt(e^2 + 1e-6), of |e[i + 1] - e[i]| down and right, and
    of |mean of e in a source pixel|.
    """
    return cast(Tensor, _FaithfulLoss.apply(made, wanted, scale, gradient, colour))


class _FaithfulLoss(torch.autograd.Function):
    """Gradients of the three terms: e / sqrt(e^2 + 1e-6), differences of signs, the sign of the mean."""

    @staticmethod
    def forward(ctx: Any, made: Tensor, wanted: Tensor, scale: int, gradient: float, colour: float) -> Tensor:
        error = functional.pixel_shuffle(made.float() - wanted, scale)
        squared = error * error + _EPSILON
        slope = squared.rsqrt()
        loss = (squared * slope).mean()
        slope.mul_(error).div_(error.numel())
        for axis in (2, 3):
            size = error.shape[axis] - 1
            step = error.narrow(axis, 1, size) - error.narrow(axis, 0, size)
            loss += gradient * step.abs().mean()
            step.sign_().mul_(gradient / step.numel())
            slope.narrow(axis, 1, size).add_(step)
            slope.narrow(axis, 0, size).sub_(step)
        mean = functional.avg_pool2d(error, scale)
        loss += colour * mean.abs().mean()
        mean.sign_().mul_(colour / error.numel())
        slope.unflatten(3, (-1, scale)).unflatten(2, (-1, scale)).add_(mean[:, :, :, None, :, None])
        ctx.save_for_backward(functional.pixel_unshuffle(slope, scale))
        ctx.dtype = made.dtype
        return loss

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        return (ctx.saved_tensors[0] * outer[0]).to(ctx.dtype), None, None, None, None
