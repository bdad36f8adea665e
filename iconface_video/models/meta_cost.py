"""What a computation would take, from a run on torch's meta device: no memory is used, no arithmetic done.

Bytes are those of tensors alive at once in eager execution; what an allocator rounds up and a library keeps for itself is not
seen. Attention counts as a fused kernel: its logits are never stored.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True)
class Cost:
    """Of one computation."""

    peak_bytes: int
    """Of tensors that it makes, alive at once; what it was given is not in it."""
    flops: int
    """Of matrix products, convolutions and attention; a multiplication and an addition are two."""


class _Live(TorchDispatchMode):
    """Sums the storages that operations make, until they are freed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: dict[int, weakref.ref[Any]] = {}

    def keep_out(self, tensors: Iterator[Tensor]) -> None:
        """These were there before."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            self._known[id(storage)] = weakref.ref(storage)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._add(leaf)
        return out

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = id(storage)
        known = self._known.get(key)
        if known is not None and known() is storage:
            return
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        self._known[key] = weakref.ref(storage, self._freer(key, size))

    def _freer(self, key: int, size: int) -> Callable[[Any], None]:
        def free(reference: Any) -> None:
            self.now -= size
            if self._known.get(key) is reference:
                del self._known[key]

        return free


class _FusedAttention(TorchFunctionMode):
    """Attention as one operation with an output like its queries."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        if func is F.scaled_dot_product_attention:
            return self.attend(*args[:3], **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def attend(self, query: Tensor, key: Tensor, value: Tensor, **others: Any) -> Tensor:
        self.count(2, query, key)
        if not query.requires_grad and not key.requires_grad:
            return torch.empty_like(query)
        return _AttentionLike.apply(query, key, value, self)

    def count(self, products: int, query: Tensor, key: Tensor) -> None:
        """Add so many products of the size of q k."""
        batch, heads, rows, width = query.shape
        self.flops += products * 2 * batch * heads * rows * key.shape[2] * width


class _AttentionLike(torch.autograd.Function):
    """Keeps what a fused kernel keeps for its backward pass: inputs and output."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, counter: _FusedAttention) -> Tensor:
        out = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, out)
        ctx.counter = counter
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        query, key, value, _ = ctx.saved_tensors
        ctx.counter.count(5, query, key)  # q k again, and four more
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value), None


@contextmanager
def _flop_counter() -> Iterator[Any]:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        yield counter


def cost_of(run: Callable[[], object], given: Iterator[Tensor], backward: bool = False) -> Cost:
    """run: the computation, on tensors of the meta device.  given: parameters and inputs, which are not counted.

    backward: it has a backward pass, which torch runs outside of any function mode: meanwhile attention is replaced for this whole
    process, so nothing else may run.
    """
    live, attention = _Live(), _FusedAttention()
    live.keep_out(given)
    with _replaced(attention, backward), live:
        result = run()
    del result
    once = attention.flops
    with _replaced(attention, backward), _flop_counter() as counter:  # by itself: it keeps tensors that nothing else keeps
        run()
    return Cost(live.peak, int(counter.get_total_flops()) + once)


def _replaced(attention: _FusedAttention, backward: bool) -> AbstractContextManager[Any]:
    return patch.object(F, "scaled_dot_product_attention", attention.attend) if backward else attention


def bytes_of(tensors: Iterator[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
