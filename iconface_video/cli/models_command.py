"""`iconface-video models list|info|pull|verify|convert|prepare|average`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from iconface_video.cli.display import print_json
from iconface_video.cli.options import with_options
from iconface_video.cli.shared_options import FORCE
from iconface_video.errors import UsageError
from iconface_video.settings import OptionForm, setting

app = typer.Typer(help="Which models there are, their licence and size, and where they are stored.", no_args_is_help=True)

SourceArgument = Annotated[str, typer.Argument(help="embedded, flux-faceir, a checkpoint folder, or hub:owner/name.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")]


def human_size(size: int) -> str:
    """For people: "41 MB", "7.9 GB"."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


@app.command("list")
def list_models(as_json: JsonOption = False) -> None:
    """List the models that this release knows.

    Example: iconface-video models list
    """
    from iconface_video.models.registry import KNOWN, locate, size_of

    rows = []
    for model in KNOWN:
        folder = locate(model.source)
        rows.append(
            {
                "model": model.source,
                "kind": model.kind,
                "license": model.license,
                "bytes": model.download_bytes if folder is None else size_of(folder),
                "folder": None if folder is None else str(folder),
                "description": model.description,
            }
        )
    if as_json:
        print_json({"models": rows})
        return
    for row in rows:
        size = human_size(int(str(row["bytes"])))
        typer.echo(f"{row['model']}  [{row['kind']}, {row['license']}, {size}]")
        typer.echo(f"    {row['description']}")
        typer.echo(f"    {row['folder'] or 'not on this machine'}")


@app.command()
def info(source: SourceArgument = "embedded", as_json: JsonOption = False) -> None:
    """Show what is known about one model: licence, size, where it is stored, what it was trained and tested with.

    Example: iconface-video models info embedded
    """
    from iconface_video.models.registry import describe

    found = describe(source)
    folder = None if found.folder is None else str(found.folder)
    if as_json:
        head = {"model": source, "kind": found.kind, "license": found.license, "bytes": found.bytes, "folder": folder}
        print_json({**head, **found.details})
        return
    typer.echo(f"{source}  [{found.kind}, {found.license}, {human_size(found.bytes)}]")
    typer.echo(f"    {folder or 'not on this machine: iconface-video models pull ' + source}")
    for group, values in found.details.items():
        for name, value in (values or {}).items() if isinstance(values, dict) else [(group, values)]:
            typer.echo(f"    {name}: {', '.join(map(str, value)) if isinstance(value, list) else value}")


@app.command()
def pull(
    source: SourceArgument,
    base_revision: Annotated[
        str | None,
        typer.Option(metavar="REVISION", help="Branch, tag or commit of a published model's base; main if not given."),
    ] = None,
    lora_revision: Annotated[
        str | None,
        typer.Option(metavar="REVISION", help="Branch, tag or commit of a published model's LoRA; main if not given."),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            metavar="TEXT", help="Where a published model's text encoder is run, once: auto, cpu, cuda, cuda:N or mps."
        ),
    ] = "auto",
    force: Annotated[bool, typer.Option("--force", "-f", help="Convert a published model again.")] = False,
) -> None:
    """Download a model into Hugging Face's cache (weights and settings only: no pickles, no code).

    A published model (flux-faceir) is also brought into our form: its prompt is embedded once with its text encoder. The
    disk is checked first, a download that was cut goes on where it was, and what comes is compared with its SHA-256.

    Example: iconface-video models pull flux-faceir
    """
    from iconface_video.models.checkpoint_index import find_checkpoint
    from iconface_video.models.download import PUBLISHED
    from iconface_video.models.registry import size_of

    if source in PUBLISHED:
        return _pull_published(source, base_revision, lora_revision, device, force)
    if base_revision or lora_revision:
        raise UsageError(f"{source}: --base-revision and --lora-revision are for published models ({', '.join(PUBLISHED)})")
    folder = find_checkpoint(source)
    typer.echo(f"{source}: {human_size(size_of(folder))} in {folder}")


def _pull_published(name: str, base_revision: str | None, lora_revision: str | None, device: str, force: bool) -> None:
    from iconface_video.models.convert import pull_published
    from iconface_video.models.download import PUBLISHED
    from iconface_video.models.load_options import pick_device

    model = PUBLISHED[name]
    base = replace(model.base, revision=base_revision or model.base.revision)
    lora = replace(model.lora, revision=lora_revision or model.lora.revision)
    folder = pull_published(model, base=base, lora=lora, device=pick_device(device), say=typer.echo, overwrite=force)
    typer.echo(f"{name}: ready in {folder} ({model.traits.license})")
    typer.echo(f"    It {model.can}.")
    typer.echo(f"    It {model.cannot}.")


@app.command()
def memory(
    source: SourceArgument = "flux-faceir",
    batch: Annotated[int, typer.Option(metavar="N", help="Faces per model call.", min=1, max=256)] = 4,
    references: Annotated[int, typer.Option(metavar="N", help="Reference pictures of each face.", min=0, max=16)] = 3,
    size: Annotated[int, typer.Option(metavar="N", help="Crop size in px.", min=64, max=1024)] = 512,
    quantize: Annotated[Literal["none", "int8", "nf4"], typer.Option(help="Weights in 8 or 4 bit.")] = "none",
    train: Annotated[bool, typer.Option("--train", help="What training it takes, instead.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what a full-size model would take of a GPU, without one and without its weights.

    Bytes and operations are counted on a device that computes nothing; 1 GB is added for what the GPU keeps for itself.

    Example: iconface-video models memory flux-faceir --batch 8 --references 1
    """
    from iconface_video.models.download import PUBLISHED
    from iconface_video.models.full_size import PUBLISHED_ARCHITECTURE
    from iconface_video.models.memory_plan import architecture_of, restore_needs
    from iconface_video.models.registry import locate
    from iconface_video.models.training_plan import training_needs

    is_here = source not in PUBLISHED or locate(source) is not None
    architecture = architecture_of(source) if is_here else PUBLISHED_ARCHITECTURE
    if architecture is None:
        raise UsageError(f"{source}: a small model, which fits everywhere; give a full-size one, such as flux-faceir")
    if train:
        step = training_needs(architecture, size=size, references=references, batch=batch)
        rows = {
            "frozen_bytes": step.frozen_bytes,
            "trained_bytes": step.trained_bytes,
            "working_bytes": step.working_bytes,
            "total_bytes": step.bytes,
            "flops_per_step": step.flops,
        }
    else:
        needs = restore_needs(architecture, size=size, references=references, batch=batch, quantize=quantize)
        rows = {
            "weight_bytes": needs.backbone_bytes + needs.other_bytes,
            "working_bytes": needs.working_bytes,
            "total_bytes": needs.bytes(offload=False),
            "offloaded_bytes": needs.bytes(offload=True),
            "flops_per_face": needs.flops_per_face(12),
        }
    if as_json:
        return print_json({"model": source, "batch": batch, "references": references, "size": size, **rows})
    for name, value in rows.items():
        unit = f"{value / 1e12:.0f} TFLOP" if name.startswith("flops") else human_size(value)
        typer.echo(f"{name.replace('_bytes', '').replace('_', ' ')}: {unit}")


@app.command()
def verify(source: SourceArgument = "embedded") -> None:
    """Check a model's files: checksums, every key and size. Ends with exit code 2 at the first thing that is wrong.

    Example: iconface-video models verify embedded
    """
    from iconface_video.models.registry import verify as check

    for line in check(source):
        typer.echo(f"{source}: {line}")


@dataclass(frozen=True)
class Conversion:
    """Which LoRA and base become which checkpoint."""

    lora: Path = setting(
        form=OptionForm(metavar="LORA", is_argument=True),
        help="A LoRA of FLUX.2 (.safetensors), in BFL's or diffusers' names.",
    )
    output: Path = setting(form=OptionForm(("--output", "-o"), "FOLDER"), help="Where to write the checkpoint.")
    base: str = setting(
        form=OptionForm(metavar="BASE"),
        help="The FLUX.2-klein checkpoint: a folder, hub:owner/name, or its one file (flux-2-klein-base-4b.safetensors).",
    )
    parts: str | None = setting(
        None,
        form=OptionForm(metavar="FOLDER"),
        help="Where vae/, text_encoder/ and tokenizer/ lie, if not beside the base's one file.",
    )
    prompt_embedding: Path | None = setting(
        None,
        form=OptionForm(metavar="FILE"),
        help="prompt_embedding.safetensors of an earlier conversion: no text encoder is needed.",
    )
    fused: bool = setting(
        False,
        form=OptionForm(("--fused/--apart",)),
        help="Write the base with the LoRA added to it, or the LoRA alone, referring to the base.",
    )
    dtype: Literal["bfloat16", "float32"] = setting("bfloat16", help="Number format of the weights.")
    device: str = setting(
        "auto",
        form=OptionForm(metavar="TEXT"),
        help="Where the text encoder is run, once: auto, cpu, cuda, cuda:N or mps.",
    )
    force: bool = setting(False, form=FORCE, help="Replace the folder if it exists.")


@app.command()
@with_options()
def convert(options: Conversion) -> None:
    """Bring published LoRA weights at hand (such as FLUX FaceIR's) into a checkpoint folder that --model takes.

    Example: iconface-video models convert lora_weights.safetensors -o faceir --base black-forest-labs/FLUX.2-klein-base-4B
    """
    from iconface_video.models.convert import BaseChoice, LoraChoice, Prompts, convert_lora
    from iconface_video.models.load_options import DTYPES, pick_device
    from iconface_video.models.registry import size_of

    model = convert_lora(
        LoraChoice(options.lora, prompts=Prompts(file=options.prompt_embedding)),
        options.output,
        BaseChoice(options.base, parts=options.parts),
        fused=options.fused,
        device=pick_device(options.device),
        dtype=DTYPES[options.dtype],
        overwrite=options.force,
    )
    base = "base and LoRA in one" if options.fused else f"base kept apart: {options.base}"
    typer.echo(f"{options.output}: {human_size(size_of(options.output))}, {base}")
    typer.echo(f"    prompt: {model.prompt.shape[1]} tokens; the text encoder is not needed any more")
    typer.echo("    It has no identity pathway: the person is told by reference pictures alone.")


@app.command()
def prepare(
    base: Annotated[str, typer.Argument(help="FLUX.2-klein checkpoint with its text encoder: a folder or hub:owner/name.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where to write the checkpoint.")],
    separate: Annotated[
        bool,
        typer.Option(
            "--separate/--merged",
            help="Keep adapters and LoRA apart and refer to the base, or write the base's weights too (without LoRA).",
        ),
    ] = True,
    lora_rank: Annotated[int, typer.Option(help="Rank of the LoRA on the base.", min=1)] = 16,
    dtype: Annotated[Literal["bfloat16", "float32"], typer.Option(help="Number format of the weights.")] = "bfloat16",
    device: Annotated[
        str, typer.Option(metavar="TEXT", help="Where the text encoder is run: auto, cpu, cuda, cuda:N or mps.")
    ] = "auto",
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace the folder if it exists.")] = False,
) -> None:
    """Prepare a full-size model for training: base, fixed prompt as an embedding, new adapters.

    The adapters are untrained: the result restores nothing until they have been trained. The text encoder is needed
    here only; neither training nor restoring loads it.

    Example: iconface-video models prepare black-forest-labs/FLUX.2-klein-base-4B -o klein-start
    """
    from iconface_video.models.full_size import count_parameters, prepare_full_size
    from iconface_video.models.load_options import DTYPES, pick_device
    from iconface_video.models.registry import size_of

    model = prepare_full_size(
        base,
        output,
        merged=not separate,
        lora_rank=lora_rank,
        device=pick_device(device),
        dtype=DTYPES[dtype],
        overwrite=force,
    )
    counts = count_parameters(model.transformer)
    typer.echo(f"{output}: {human_size(size_of(output))}, base {'kept apart: ' + base if separate else 'merged in'}")
    typer.echo(f"    parameters: {counts.base} of the base, {counts.lora} of LoRA, {counts.adapters} of adapters")
    typer.echo(f"    prompt: {model.prompt.shape[1]} tokens; the text encoder is not needed any more")
    typer.echo("    Its adapters are UNTRAINED: it restores nothing yet. Train them first.")


@app.command()
def average(
    sources: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="embedded or checkpoint folders, trained from one another.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where to write the checkpoint.")],
    share: Annotated[
        list[float] | None, typer.Option(metavar="NUMBER", help="Weight of each model, in their order; equal when not given.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace the folder if it exists.")] = False,
) -> None:
    """Average the weights of models that were trained from one another: often better than each of them.

    Example: iconface-video models average embedded runs/stage4-model -o averaged --share 0.4 --share 0.6
    """
    from iconface_video.models.registry import average_models, size_of

    average_models(sources, output, share or (), overwrite=force)
    typer.echo(f"{output}: mean of {len(sources)} models, {human_size(size_of(output))}")
