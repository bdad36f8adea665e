"""`iconface-video models list|info|pull|verify`."""

from __future__ import annotations

from typing import Annotated

import typer

from iconface_video.cli.display import print_json

app = typer.Typer(help="Which models there are, their licence and size, and where they are stored.", no_args_is_help=True)

SourceArgument = Annotated[str, typer.Argument(help="embedded, a checkpoint folder, or a hub id (owner/name).")]
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
def pull(source: SourceArgument) -> None:
    """Download a model into Hugging Face's cache (weights and settings only: no pickles, no code).

    Example: iconface-video models pull black-forest-labs/FLUX.2-klein-base-4B
    """
    from iconface_video.models.checkpoints import find_checkpoint
    from iconface_video.models.registry import size_of

    folder = find_checkpoint(source)
    typer.echo(f"{source}: {human_size(size_of(folder))} in {folder}")


@app.command()
def verify(source: SourceArgument = "embedded") -> None:
    """Check a model's files: checksums, every key and size. Ends with exit code 2 at the first thing that is wrong.

    Example: iconface-video models verify embedded
    """
    from iconface_video.models.registry import verify as check

    for line in check(source):
        typer.echo(f"{source}: {line}")
