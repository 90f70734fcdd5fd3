"""Mixing along time against loops that follow the definitions."""

import pytest
import torch

from synapse_engine.train.mixing import apply_matrix, causal_convolution, monarch_matrix

P = 4  # digit of the small Monarch matrices; the window is 16


def naive_convolution(signal: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    result = torch.zeros_like(signal)
    for t in range(signal.shape[-1]):
        for lag in range(min(t + 1, kernel.shape[1])):
            result[..., t] += kernel[:, lag] * signal[..., t - lag]
    return result


@pytest.mark.parametrize(("time", "lags"), [(1, 1), (1, 16), (5, 16), (16, 16), (16, 4), (3, 4)])
def test_causal_convolution(time: int, lags: int) -> None:
    torch.manual_seed(time)
    signal, kernel = torch.randn(2, 3, time), torch.randn(3, lags)
    torch.testing.assert_close(causal_convolution(signal, kernel), naive_convolution(signal, kernel))


def test_derivatives_of_the_convolution_are_those_of_the_loops() -> None:
    torch.manual_seed(0)
    signal, kernel = torch.randn(2, 3, 9, requires_grad=True), torch.randn(3, 9, requires_grad=True)
    upward = torch.randn(2, 3, 9)
    fast = torch.autograd.grad((causal_convolution(signal, kernel) * upward).sum(), (signal, kernel))
    slow = torch.autograd.grad((naive_convolution(signal, kernel) * upward).sum(), (signal, kernel))
    for found, wanted in zip(fast, slow, strict=True):
        torch.testing.assert_close(found, wanted)


def digits(layout: str, time: int) -> tuple[int, int]:
    """Of a position: the digit that L2 works on, and the one that L1 works on."""
    slow, fast = divmod(time, P)
    return (slow, fast) if layout == "torch" else (fast, slow)


@pytest.mark.parametrize("layout", ["torch", "julia"])
def test_monarch_entries(layout: str) -> None:
    torch.manual_seed(1)
    first, second = torch.randn(P, P, P), torch.randn(P, P, P)
    matrix = monarch_matrix(first, second, layout)
    for t in range(P * P):
        for s in range(P * P):
            (m, n), (i, j) = digits(layout, t), digits(layout, s)
            wanted = first[n, j, m] * second[m, i, j] if s <= t else torch.tensor(0.0)
            assert matrix[t, s] == wanted, (t, s)


def test_monarch_is_block_products_and_a_transposed_grid() -> None:
    """The published procedure for the torch layout: push the identity through L2, transpose, L1, transpose."""
    torch.manual_seed(2)
    first, second = torch.randn(P, P, P), torch.randn(P, P, P)
    grid = torch.eye(P * P).reshape(P, P, P * P)  # (slow, fast, column)
    # Blocks lie on the last axis: L2 works on the slow digit for each fast digit, L1 on the fast for each slow.
    grid = torch.einsum("mij,ijc->mjc", second, grid)
    grid = torch.einsum("njm,mjc->mnc", first, grid)
    dense = grid.reshape(P * P, P * P)
    torch.testing.assert_close(monarch_matrix(first, second, "torch"), dense.tril())


def test_a_shorter_signal_uses_the_top_left_corner() -> None:
    torch.manual_seed(3)
    matrix, signal = torch.randn(16, 16).tril(), torch.randn(2, 3, 16)
    full = apply_matrix(signal, matrix)
    for time in (1, 3, 15):
        torch.testing.assert_close(apply_matrix(signal[..., :time], matrix), full[..., :time])
    torch.testing.assert_close(full[1, 2], matrix @ signal[1, 2])
