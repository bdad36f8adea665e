"""From a published LoRA to a checkpoint folder of ours: names translated, fitted to its base, prompt embedded once.

`convert_lora` takes a file at hand, `pull_published` downloads what a published model consists of and converts it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from iconface_video.errors import CheckpointError, UsageError
from iconface_video.models import checkpoint_files as files
from iconface_video.models import lora as peft_lora
from iconface_video.models.bfl_base import described_base, find_base, is_bfl_file, load_base
from iconface_video.models.bfl_lora import LoraFile, check_fit, read_lora
from iconface_video.models.checkpoint_index import INDEX
from iconface_video.models.checkpoints import load_vae
from iconface_video.models.conditioning import ConditioningSettings
from iconface_video.models.download import (
    FACEIR_TRAITS,
    FLUX2_SCHEDULE,
    FLUX_FACEIR,
    HubPart,
    PublishedModel,
    download,
    is_offline,
    list_part,
    prepared_folder,
)
from iconface_video.models.model import IConFaceModel
from iconface_video.models.prompt import encode_prompts
from iconface_video.models.saving import save_model
from iconface_video.models.traits import RestorerTraits
from iconface_video.models.transformer import IConFaceTransformer

TOKENS_ALONE = ConditioningSettings(identity_pathway=False, degraded_residual=False, degraded_memory=False)
"""Degraded picture and references as tokens (IConFace eq. 2), and nothing else."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class BaseChoice:
    """The FLUX.2 checkpoint under a LoRA."""

    source: str
    """A folder as diffusers writes it, hub:owner/name, or one file of Black Forest Labs with vae/, text_encoder/ and tokenizer/ beside
    it, as its repository has them."""
    revision: str | None = None
    """The commit of a repository that lies in the cache."""
    parts: str | None = None
    """Where vae/, text_encoder/ and tokenizer/ lie, if not there."""


@dataclass(frozen=True)
class Prompts:
    """Their texts, or a file that holds them embedded (`prompt_embedding.safetensors` of an earlier conversion)."""

    prompt: str = FLUX_FACEIR.prompt
    negative: str = FLUX_FACEIR.negative_prompt
    file: Path | None = None


@dataclass(frozen=True)
class LoraChoice:
    """A published LoRA, and how it is to be used."""

    path: Path
    """In Black Forest Labs' or diffusers' names."""
    traits: RestorerTraits = FACEIR_TRAITS
    prompts: Prompts = Prompts()


def convert_lora(
    lora: LoraChoice,
    folder: Path,
    base: BaseChoice,
    *,
    fused: bool = False,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.bfloat16,
    overwrite: bool = False,
) -> IConFaceModel:
    """Write a checkpoint folder; returns what was written (with an empty backbone where it is kept apart).

    Args:
        fused: the LoRA is added to the backbone and both are written; otherwise the folder refers to the base.
        device: where the text encoder is run, once.
        dtype: of the weights that are written; the LoRA stays as it is.

    Raises UsageError where `folder` is taken, CheckpointError where something is missing, too much or of another size.
    """
    if folder.exists() and not overwrite:  # said before anything is read
        raise UsageError(f"{folder} is there already: name another folder, or allow overwriting")
    found = read_lora(lora.path)
    base_path = find_base(base.source, base.revision)
    parts = _parts_folder(base, base_path)
    weights = base_path if is_bfl_file(base_path) else base_path / "transformer"
    described = described_base(weights)
    check_fit(found, described.state_dict(), str(weights))
    vae = load_vae(parts / "vae", dtype)
    transformer = _fused(weights, found, dtype) if fused else _apart(described, found)
    is_remote = base.revision is None and not Path(base.source).expanduser().exists()
    texts = base.source if is_remote and base.parts is None else parts  # a hub's text encoder is fetched only where it is run
    embedded = _prompts(lora.prompts, texts, device, described.config.joint_attention_dim)
    traits = replace(lora.traits, size_multiple=vae.stride)
    model = IConFaceModel(transformer, vae, embedded["prompt"], FLUX2_SCHEDULE, traits, embedded.get("negative_prompt"))
    folder.parent.mkdir(parents=True, exist_ok=True)
    reference = None if fused else base.source if base.revision or is_remote else str(base_path.resolve())
    save_model(model, folder, reference, overwrite=overwrite, base_revision=base.revision)
    return model


def pull_published(
    published: PublishedModel = FLUX_FACEIR,
    *,
    base: HubPart | None = None,
    lora: HubPart | None = None,
    device: str | torch.device = "cpu",
    say: Say = lambda line: None,
    overwrite: bool = False,
) -> Path:
    """Download a published model and convert it -> its folder; what is there already is not fetched again.

    base, lora: other repositories or revisions than the published ones.  Raises CheckpointError.
    """
    folder = prepared_folder(published.name)
    if is_offline():
        if _made_from(folder) is None:
            raise CheckpointError(f"{published.name}: not on this machine, and --offline forbids to fetch it.")
        return folder
    wanted = (base or published.base, lora or published.lora)
    listings = [list_part(part) for part in wanted]
    made_from = {"base": listings[0].commit, "lora": listings[1].commit}
    _, lora_folder = download(listings, say)
    if not overwrite and _made_from(folder) == made_from:
        return folder
    say("embedding the prompt with the base's text encoder; this is done once")
    folder.parent.mkdir(parents=True, exist_ok=True)
    convert_lora(
        LoraChoice(lora_folder / published.lora_file, published.traits, Prompts(published.prompt, published.negative_prompt)),
        folder,
        BaseChoice(wanted[0].repository, listings[0].commit),
        device=device,
        overwrite=True,
    )
    _note_origin(folder, made_from)
    return folder


_ORIGIN = "origin.json"


def _note_origin(folder: Path, commits: dict[str, str]) -> None:
    files.write_json(folder / _ORIGIN, {"commits": commits})
    files.write_manifest(folder)


def _made_from(folder: Path) -> Any:
    is_whole = (folder / INDEX).is_file() and (folder / _ORIGIN).is_file()
    return files.read_json(folder / _ORIGIN).get("commits") if is_whole else None


def _parts_folder(base: BaseChoice, base_path: Path) -> Path:
    if base.parts is not None:
        return find_base(base.parts)
    folder = base_path.parent if is_bfl_file(base_path) else base_path
    if not (folder / "vae").is_dir():
        raise CheckpointError(
            f"{folder / 'vae'}: the base's autoencoder is missing. Give the folder that holds vae/, text_encoder/ and tokenizer/ "
            "with --parts."
        )
    return folder


def _fused(weights: Path, found: LoraFile, dtype: torch.dtype) -> IConFaceTransformer:
    transformer = IConFaceTransformer(load_base(weights, dtype), TOKENS_ALONE)
    peft_lora.fuse_lora(transformer, found.state(), found.alpha / found.rank)
    return transformer


def _apart(described: Any, found: LoraFile) -> IConFaceTransformer:
    """A backbone without weights under the LoRA's own."""
    transformer = IConFaceTransformer(described, TOKENS_ALONE)
    kinds = peft_lora.module_kinds(found.pairs)
    with torch.device("meta"):
        peft_lora.add_lora(transformer, found.rank, found.alpha, peft_lora.kinds_pattern(kinds))
    modules = dict(transformer.base.named_modules())
    for name, tensor in found.state().items():
        module, _, side = name.removesuffix(".weight").rpartition(".")
        getattr(modules[module], side)["default"].weight = nn.Parameter(tensor.contiguous(), requires_grad=False)
    return transformer


def _prompts(prompts: Prompts, texts: str | Path, device: str | torch.device, width: int) -> dict[str, Tensor]:
    if prompts.file is None:
        prompt, negative = encode_prompts(texts, (prompts.prompt, prompts.negative), device)
        return {"prompt": prompt, "negative_prompt": negative}
    shapes = files.read_shapes(prompts.file)
    for name in ("prompt", "negative_prompt"):
        if name not in shapes:
            raise CheckpointError(f"{prompts.file}: '{name}' is missing: no prompt embedding of ours.")
        if len(shapes[name]) != 3 or shapes[name][2] != width:
            raise CheckpointError(f"{prompts.file}: '{name}' is {shapes[name]}, must be (1, tokens, {width}) for this base.")
    return {name: load_file(str(prompts.file))[name] for name in ("prompt", "negative_prompt")}
