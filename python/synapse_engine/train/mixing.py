"""The arithmetic of mixing along time: causal convolutions and Monarch matrices. Knows no modules and no configuration.

Signals here are channels-first, ``(batch, channels, time)``, so that a Monarch matrix is one matrix product.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor


# Kernels this short are summed up lag by lag.
_FEW_LAGS = 8


class _CausalConvolution(torch.autograd.Function):
    """``y[b, c, t] = sum over lag of k[c, lag] * x[b, c, t - lag]``, by FFT of at least twice the length.

    Written out because the derivative needs each transform once; PyTorch's own would take them twice.
    """

    @staticmethod
    def forward(ctx: Any, signal: Tensor, kernel: Tensor) -> Tensor:
        time = signal.shape[-1]
        size = _transform_size(time)
        spectrum = torch.fft.rfft(signal, size)
        response = torch.fft.rfft(kernel, size)
        ctx.save_for_backward(spectrum, response)
        result: Tensor = torch.fft.irfft(spectrum * response, size)[..., :time]
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (gradient,) = gradients
        spectrum, response = ctx.saved_tensors
        time = gradient.shape[-1]
        size = _transform_size(time)
        upward = torch.fft.rfft(gradient, size)
        of_signal = of_kernel = None
        if ctx.needs_input_grad[0]:
            of_signal = torch.fft.irfft(upward * response.conj(), size)[..., :time]
        if ctx.needs_input_grad[1]:
            of_kernel = torch.fft.irfft((upward * spectrum.conj()).sum(0), size)[..., :time]
        return of_signal, of_kernel


def _transform_size(time: int) -> int:
    # A power of two, as other sizes may have large prime factors and take several times as long.
    return 2 << (time - 1).bit_length()


def causal_convolution(signal: Tensor, kernel: Tensor) -> Tensor:
    """Convolves each channel of ``(batch, channels, time)`` with its row of ``(channels, lags)``; lag 0 comes first.

    The numbers are 32-bit whatever the signal's type, as spectra lose too much in 16 bits.
    """
    time, lags = signal.shape[-1], kernel.shape[1]
    if lags <= _FEW_LAGS:
        # Several times as fast as transforms, which do not care how many lags there are.
        padded, weights = torch.nn.functional.pad(signal.float(), (lags - 1, 0)), kernel.float()
        shifted = (padded[..., lags - 1 - lag : lags - 1 - lag + time] for lag in range(lags))
        return sum(weights[:, lag, None] * part for lag, part in enumerate(shifted))  # type: ignore[return-value]
    kernel = torch.nn.functional.pad(kernel[:, :time].float(), (0, max(0, time - lags)))
    result: Tensor = _CausalConvolution.apply(signal.float(), kernel)
    return result


def monarch_matrix(first: Tensor, second: Tensor, layout: str) -> Tensor:
    """The causal matrix ``(time, time)`` of one head from its two factors ``(p, p, p)``, time being ``p * p``.

    Each entry is one product, ``L1[n, j, m] * L2[m, i, j]``. It stands at ``[m * p + n, i * p + j]`` in the layout
    ``torch`` and at ``[m + p * n, i + p * j]`` in ``julia``: the two orders in which a grid is read as a sequence.
    """
    order = "njm,mij->mnij" if layout == "torch" else "njm,mij->nmji"
    size = first.shape[0] ** 2
    return torch.einsum(order, first, second).reshape(size, size).tril()


def apply_matrix(signal: Tensor, matrix: Tensor) -> Tensor:
    """``y[b, c, t] = sum over s of M[t, s] * x[b, c, s]``; the top left corner of M is used for a shorter signal."""
    time = signal.shape[-1]
    return torch.nn.functional.linear(signal, matrix[:time, :time])
