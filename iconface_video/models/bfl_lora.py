"""LoRA files in Black Forest Labs' names of FLUX.2's modules, brought to diffusers' modules.

`double_blocks.N.img_attn.qkv` is one matrix where diffusers has three: its LoRA's A is shared by to_q, to_k and to_v, its B is
cut into three equal parts in this order. All other modules are the same matrix under another name, rows and all
(`single_blocks.N.linear1`: q, k, v, then gate and value of the feed-forward). Files in diffusers' own names pass as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from iconface_video.errors import CheckpointError
from iconface_video.models import checkpoint_files as files

ADAPTER_CONFIG = "adapter_config.json"
_QKV = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
}
_DOUBLE = {
    "img_attn.proj": "attn.to_out.0",
    "txt_attn.proj": "attn.to_add_out",
    "img_mlp.0": "ff.linear_in",
    "img_mlp.2": "ff.linear_out",
    "txt_mlp.0": "ff_context.linear_in",
    "txt_mlp.2": "ff_context.linear_out",
}
_SINGLE = {"linear1": "attn.to_qkv_mlp_proj", "linear2": "attn.to_out"}
_ATTENTION = ("img_attn.qkv", "img_attn.proj", "txt_attn.qkv", "txt_attn.proj")
PRESETS: dict[str, frozenset[str]] = {
    "flux2_klein": frozenset({"img_attn.qkv", "img_attn.proj", *_SINGLE}),
    "attn": frozenset(_ATTENTION),
    "attn_ffn": frozenset({*_ATTENTION, *_DOUBLE, *_SINGLE}),
    "flux2_klein_full": frozenset({*_ATTENTION, *_DOUBLE, *_SINGLE}),
}
"""What `lora_target_preset` of an adapter_config.json means: the modules of every block that have a LoRA."""
LORA_KINDS = (
    *(f"transformer_blocks.*.{name}" for name in (*_QKV["img_attn.qkv"], _DOUBLE["img_attn.proj"])),
    *(f"single_transformer_blocks.*.{name}" for name in _SINGLE.values()),
)
"""Modules of the published LoRA (flux2_klein), in diffusers' names."""
_PREFIXES = ("base_model.model.", "model.diffusion_model.", "diffusion_model.", "transformer.", "module.")
_WRAPPERS = ("._fsdp_wrapped_module", "_fsdp_wrapped_module.", "_orig_mod.")
_PART = re.compile(r"(.+)\.(lora_A|lora_B|lora_down|lora_up)(?:\.default)?(?:\.weight)?|(.+)\.(alpha)")
_MODULE = re.compile(r"(double_blocks|single_blocks|transformer_blocks|single_transformer_blocks)\.(\d+)\.(.+)")
_SIDES = {"lora_A": "down", "lora_down": "down", "lora_B": "up", "lora_up": "up"}


@dataclass(frozen=True, eq=False)
class LoraPair:
    """What is added to one matrix W (out, in): up @ down * alpha / rank."""

    down: Tensor
    """(rank, in): lora_A."""
    up: Tensor
    """(out, rank): lora_B."""
    alpha: float
    key: str
    """Of the module in the file, for messages."""

    @property
    def rank(self) -> int:
        return int(self.down.shape[0])

    @property
    def scale(self) -> float:
        return self.alpha / self.rank


@dataclass(frozen=True, eq=False)
class LoraFile:
    """One LoRA, by diffusers' module names; one rank and one alpha, as peft has them."""

    path: Path
    pairs: Mapping[str, LoraPair]
    rank: int
    alpha: float

    def state(self) -> dict[str, Tensor]:
        """Under peft's names; no two share memory."""
        named = {}
        for name, pair in self.pairs.items():
            named[f"{name}.lora_A.weight"], named[f"{name}.lora_B.weight"] = pair.down.clone(), pair.up.clone()
        return named


def read_lora(path: Path) -> LoraFile:
    """Read a LoRA of FLUX.2 in BFL's or diffusers' names. CheckpointError naming the file and the first wrong key.

    Alpha: the file's own `alpha`, else `lora_alpha` of an adapter_config.json beside it, else the rank (scale 1).
    """
    files.read_shapes(path)  # says what is wrong with the file
    config_path = path.with_name(ADAPTER_CONFIG)
    config = files.read_settings(config_path) if config_path.is_file() else {}
    parts = _parts(files.read_tensors(path), path)
    if not parts:
        raise CheckpointError(
            f"{path}: holds no LoRA (no key ends in lora_A.weight). Give the file that its authors call LoRA."
        )
    modules = {module: _pair(module, found, config, path) for module, found in parts.items()}
    _check_alike(modules, config, config_path, path)
    _check_preset(modules, config, config_path, path)
    pairs = {name: pair for module, whole in modules.items() for name, pair in _in_diffusers_names(module, whole, path)}
    first = next(iter(pairs.values()))
    return LoraFile(path, pairs, first.rank, first.alpha)


def check_fit(lora: LoraFile, base: Mapping[str, Tensor], what: str) -> None:
    """Whether the LoRA fits a backbone and leaves out none of its blocks. CheckpointError naming the file and the key.

    base: the backbone's state dict (meta tensors do).  what: the backbone, for the message.
    """
    for name, pair in lora.pairs.items():
        weight = base.get(f"{name}.weight")
        if weight is None:
            raise CheckpointError(f"{lora.path}: '{pair.key}' has no counterpart in {what}. It belongs to another base model.")
        found = (pair.up.shape[0], pair.down.shape[1])
        if found != tuple(weight.shape):
            raise CheckpointError(
                f"{lora.path}: '{pair.key}' is for a matrix {found}, that of {what} is {tuple(weight.shape)}. "
                "It was trained on a base model of another size."
            )
    kinds = {_kind(name) for name in lora.pairs}
    for name in base:
        module = name.removesuffix(".weight")
        if name.endswith(".weight") and _kind(module) in kinds and module not in lora.pairs:
            key = next(pair.key for other, pair in lora.pairs.items() if _kind(other) == _kind(module))
            missing = re.sub(r"\.\d+\.", f".{module.split('.')[1]}.", key, count=1)
            raise CheckpointError(f"{lora.path}: incomplete, '{missing}.lora_A.weight' is missing, which {what} needs.")


def _kind(module: str) -> str:
    """A module's name without its block's number."""
    return re.sub(r"\.\d+\.", ".*.", module, count=1)


def _parts(tensors: Mapping[str, Tensor], path: Path) -> dict[str, dict[str, Tensor]]:
    """Module -> "down", "up", "alpha"; other weights are passed over in the state dict of a whole model alone."""
    is_whole = any(".base_layer." in key for key in tensors)
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        found = _PART.fullmatch(_plain(key))
        if found is None:
            if is_whole:
                continue
            raise CheckpointError(f"{path}: unexpected key '{key}'. It is no LoRA of FLUX.2, or one of a kind not known here.")
        module, side = (found[1], _SIDES[found[2]]) if found[1] else (found[3], "alpha")
        parts.setdefault(module, {})[side] = tensor
    return parts


def _plain(key: str) -> str:
    """Without what training frameworks and other programs put around a module's name."""
    for wrapper in _WRAPPERS:
        key = key.replace(wrapper, "")
    for prefix in _PREFIXES:
        key = key.removeprefix(prefix)
    return key


def _pair(module: str, found: Mapping[str, Tensor], config: Mapping[str, object], path: Path) -> LoraPair:
    for side, name in (("down", "lora_A"), ("up", "lora_B")):
        if side not in found:
            raise CheckpointError(f"{path}: incomplete, '{module}.{name}.weight' is missing. Download it again.")
    down, up = found["down"], found["up"]
    if down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1]:
        raise CheckpointError(
            f"{path}: '{module}' has a lora_A {tuple(down.shape)} and a lora_B {tuple(up.shape)}, which do not go together."
        )
    alpha = float(found["alpha"]) if "alpha" in found else config.get("lora_alpha", down.shape[0])
    if not isinstance(alpha, (int, float)) or isinstance(alpha, bool) or not 0 < alpha < 1e6:
        raise CheckpointError(f"{path}: the alpha of '{module}' is {alpha!r}, must be a number above 0.")
    return LoraPair(down, up, float(alpha), module)


def _check_alike(modules: Mapping[str, LoraPair], config: Mapping[str, object], config_path: Path, path: Path) -> None:
    """One rank and one alpha throughout, those of the adapter_config.json if there is one."""
    name, first = next(iter(modules.items()))
    for module, pair in modules.items():
        if (pair.rank, pair.alpha) != (first.rank, first.alpha):
            raise CheckpointError(
                f"{path}: '{module}' has rank {pair.rank} and alpha {pair.alpha:g}, '{name}' {first.rank} and {first.alpha:g}: "
                "a LoRA has one of each here."
            )
    said = config.get("lora_rank")
    if said is not None and said != first.rank:
        raise CheckpointError(f"{path}: '{name}' has rank {first.rank}, {config_path.name} beside it says {said!r}.")


def _check_preset(modules: Iterable[str], config: Mapping[str, object], config_path: Path, path: Path) -> None:
    """Whether the modules are those of the preset that the adapter_config.json names."""
    said = config.get("lora_target_preset")
    if not isinstance(said, str) or said not in PRESETS:
        return
    kinds = {found[3] for module in modules if (found := _MODULE.fullmatch(module))}
    for kind in sorted(kinds ^ PRESETS[said]):
        problem = "is missing" if kind in PRESETS[said] else "is unexpected"
        raise CheckpointError(f"{path}: '{kind}' {problem}: {config_path.name} beside it says '{said}'.")


def _in_diffusers_names(module: str, pair: LoraPair, path: Path) -> list[tuple[str, LoraPair]]:
    found = _MODULE.fullmatch(module)
    stack, number, kind = (found[1], found[2], found[3]) if found else ("", "", "")
    if stack in ("transformer_blocks", "single_transformer_blocks"):
        return [(module, pair)]
    if stack == "double_blocks" and kind in _QKV:
        if pair.up.shape[0] % 3:
            raise CheckpointError(
                f"{path}: '{module}.lora_B.weight' has {pair.up.shape[0]} rows, which q, k and v cannot share."
            )
        thirds = pair.up.chunk(3)
        names = (f"transformer_blocks.{number}.{name}" for name in _QKV[kind])
        return [(name, replace(pair, up=up)) for name, up in zip(names, thirds)]
    if stack == "double_blocks" and kind in _DOUBLE:
        return [(f"transformer_blocks.{number}.{_DOUBLE[kind]}", pair)]
    if stack == "single_blocks" and kind in _SINGLE:
        return [(f"single_transformer_blocks.{number}.{_SINGLE[kind]}", pair)]
    raise CheckpointError(f"{path}: unexpected key '{module}'. FLUX.2 has no such module.")
