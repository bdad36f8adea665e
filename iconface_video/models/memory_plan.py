"""Whether a full-size model fits a GPU, said before its weights are read: what a computation would take, from a run on torch's meta
device, where no memory is used and no arithmetic done.

Bytes are those of tensors alive at once in eager execution; what an allocator rounds up and a library keeps for itself is not
seen. Attention counts as a fused kernel: its logits are never stored.

Nothing here is measured on a GPU. What is assumed is named: `RESERVE`, and what a quantised weight takes.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLFlux2, Flux2Transformer2DModel
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from iconface_video.errors import UsageError
from iconface_video.models import checkpoint_files as files
from iconface_video.models.bfl_base import described_base, find_base, is_bfl_file
from iconface_video.models.checkpoint_index import INDEX, find_checkpoint, read_index
from iconface_video.models.conditioning import ConditioningSettings
from iconface_video.models.transformer import IConFaceTransformer
from iconface_video.settings import LoadSettings


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


RESERVE = 1_000_000_000
"""Bytes assumed for the GPU library's own context and what the allocator rounds up."""
QUANTIZED_BYTES = {"int8": 1.0, "nf4": 0.5625}
"""A weight of a linear layer, with its share of the scales (one float32 for 64 weights in nf4)."""
TEXT_TOKENS = 512


@dataclass(frozen=True)
class Architecture:
    """A full-size model as two configurations, of diffusers' classes."""

    backbone: dict[str, Any]
    autoencoder: dict[str, Any]
    conditioning: ConditioningSettings

    @property
    def stride(self) -> int:
        """px of a token."""
        return int(2 ** len(self.autoencoder.get("block_out_channels", (0, 0, 0, 0))))

    def build(self, dtype: torch.dtype) -> tuple[IConFaceTransformer, Any]:
        """Backbone with adapters, and autoencoder, without weights."""
        with torch.device("meta"):
            transformer = IConFaceTransformer(Flux2Transformer2DModel(**self.backbone), self.conditioning)
            autoencoder: Any = AutoencoderKLFlux2(**self.autoencoder)
            return transformer.to(dtype), nn.Module.to(autoencoder, dtype)


@dataclass(frozen=True)
class Needs:
    """Of restoring: bytes on the GPU, and operations."""

    backbone_bytes: int
    other_bytes: int
    """Autoencoder, adapters, prompts."""
    largest_layer_bytes: int
    working_bytes: int
    flops_per_step: int
    """Of one sampler step with guidance, for the whole batch."""
    flops_around: int
    """Of encoding and decoding the batch."""
    batch: int

    def bytes(self, offload: bool) -> int:
        """Alive at once, with `RESERVE`; offloaded weights are on the GPU a layer at a time, two of them while one is fetched."""
        weights = 2 * self.largest_layer_bytes if offload else self.backbone_bytes + self.other_bytes
        return weights + self.working_bytes + RESERVE

    def flops_per_face(self, steps: int) -> int:
        return (steps * self.flops_per_step + self.flops_around) // self.batch


def restore_needs(
    architecture: Architecture,
    *,
    size: int = 512,
    references: int = 0,
    batch: int = 1,
    guided: bool = True,
    dtype: torch.dtype = torch.bfloat16,
    quantize: str = "none",
) -> Needs:
    """Count what restoring a batch of faces takes. size: px.  references: pictures of each."""
    transformer, autoencoder = architecture.build(dtype)
    cells, channels = size // architecture.stride, int(architecture.backbone["in_channels"])
    passes = batch * (2 if guided else 1)
    with torch.device("meta"):
        scene = torch.empty(passes, cells**2, channels, dtype=dtype)
        # References cost what degraded tokens cost: one longer segment stands for all of them.
        rest = torch.empty(passes, (1 + references) * cells**2, channels, dtype=dtype)
        prompt = torch.empty(passes, TEXT_TOKENS, int(architecture.backbone["joint_attention_dim"]), dtype=dtype)
        sigma = torch.empty(passes)
        picture = torch.empty(batch, 3, size, size, dtype=dtype)
        latents = torch.empty(batch, channels // 4, 2 * cells, 2 * cells, dtype=dtype)
    grids = (cells, cells), ((1 + references) * cells, cells)

    def given(module: nn.Module, *tensors: Tensor) -> Iterator[Tensor]:
        yield from module.parameters()
        yield from module.buffers()
        yield from tensors

    with torch.no_grad():
        step = cost_of(
            lambda: transformer(scene, sigma, prompt, grids[0], rest, None, None, grids[1]),
            given(transformer, scene, rest, prompt, sigma),
        )
        encode = cost_of(lambda: autoencoder.encode(picture), given(autoencoder, picture))
        decode = cost_of(lambda: autoencoder.decode(latents, return_dict=False), given(autoencoder, latents))
    base: nn.Module = transformer.base
    backbone = bytes_of(base.parameters())
    if quantize != "none":
        linear = sum(module.weight.numel() for module in base.modules() if isinstance(module, nn.Linear))
        backbone += round(linear * (QUANTIZED_BYTES[quantize] - dtype.itemsize))
    others = bytes_of(given(autoencoder)) + bytes_of(transformer.adapters.parameters())
    largest = max(bytes_of(module.parameters(recurse=False)) for module in base.modules())
    inputs = bytes_of(iter((scene, rest, prompt)))
    return Needs(
        backbone,
        others + 2 * bytes_of(iter((prompt[:1],))),
        largest,
        max(step.peak_bytes + inputs, encode.peak_bytes, decode.peak_bytes),
        step.flops,
        decode.flops + (2 + references) * encode.flops,
        batch,
    )


def architecture_of(source: str | Path) -> Architecture | None:
    """Of a checkpoint folder, read from its settings alone; None for a model of another kind, which is small. CheckpointError."""
    folder = find_checkpoint(source)
    index = read_index(folder)
    if index.get("autoencoder") != "latent":
        return None
    base = folder if index.get("base") is None else find_base(str(index["base"]), index.get("base_revision"))
    backbone = described_base(base if is_bfl_file(base) else base / "transformer").config
    own = folder / "autoencoder"
    autoencoder = files.read_settings((own if own.is_dir() else base / "vae") / "config.json")
    with files.describing_a_model(folder / INDEX):
        conditioning = ConditioningSettings(**index["conditioning"])
    return Architecture(_plain(backbone), _plain(autoencoder), conditioning)


def _plain(config: Any) -> dict[str, Any]:
    return {name: value for name, value in dict(config).items() if not name.startswith("_")}


@dataclass(frozen=True)
class Fit:
    """How a model is loaded, and what a person is told of it."""

    options: LoadSettings
    note: str


def fit(needs: Needs, options: LoadSettings, free_bytes: int, device: str) -> Fit:
    """Keep what was asked for where it fits; where nothing was asked for and it does not, keep the weights in main memory.

    UsageError where no way fits. The batch stays as it is: results depend on it.
    """
    asked = needs.bytes(options.offload)
    have = f"{device} has {_gigabytes(free_bytes)} free"
    if asked <= free_bytes:
        return Fit(options, f"the model takes about {_gigabytes(asked)} at {needs.batch} faces per call; {have}")
    offloaded = needs.bytes(True)
    is_free = not options.offload and options.quantize == "none"
    if is_free and offloaded <= free_bytes:
        note = (
            f"the model would take about {_gigabytes(asked)}, {have}: its weights stay in main memory and each layer is brought "
            f"when it is run (as with --offload; about {_gigabytes(offloaded)}, slower); --quantize int8 keeps them on the GPU"
        )
        return Fit(replace(options, offload=True), note)
    one = needs.working_bytes // needs.batch + 2 * needs.largest_layer_bytes + RESERVE
    raise UsageError(
        f"the model takes about {_gigabytes(asked)} at {needs.batch} faces per call, {have}. "
        + (
            f"With --offload and --batch 1 it is about {_gigabytes(one)}."
            if one <= free_bytes
            else f"Even --offload and --batch 1 take about {_gigabytes(one)}: use a larger GPU, or --device cpu."
        )
    )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
