"""`iconface-video people`: who is in a clip, and `add`, `list`, `forget` for the people that are known in every clip."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iconface_video.cli.clips import people
from iconface_video.cli.display import counted, make_display, print_json, print_rows
from iconface_video.cli.shared_options import JsonFlag, QuietFlag
from iconface_video.settings import AnchorSettings, SurveySettings, nearest

if TYPE_CHECKING:
    from iconface_video.personalize.library import KnownPerson

_CLIP = "clip"


class _ClipByDefault(typer.core.TyperGroup):
    """`people tape.mp4` is `people clip tape.mp4`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self.filled_in(args))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """A first word that is neither a command nor a file was meant to be one of them."""
        word = args[1] if len(args) > 1 and args[0] == _CLIP else ""
        if word and not word.startswith("-") and not Path(word).exists() and (hint := nearest(word, self.commands)):
            ctx.fail(f"there is no video '{word}', and no command of that name.{hint}")
        return super().resolve_command(ctx, args)

    def filled_in(self, words: list[str]) -> list[str]:
        """The words with the command's name before them, where it was left out."""
        is_named = bool(words) and (words[0] in self.commands or words[0] in ("-h", "--help"))
        return words if is_named else [_CLIP, *words]


app = typer.Typer(cls=_ClipByDefault, help="Show who is in a video; keep people whom you want to be known in every video.")
app.command(_CLIP)(people)

LibraryFolder = Annotated[
    Path | None,
    typer.Option("--library", metavar="FOLDER", help="Where the people are kept; the user's own data folder when not given."),
]


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whom the photos show.")],
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO...", help="Photos of that person, or folders of them.")],
    library: LibraryFolder = None,
    learn: Annotated[
        bool, typer.Option("--learn/--no-learn", help="Learn the person now: about a minute or two on a small machine.")
    ] = True,
    model: Annotated[
        str, typer.Option("--model", help="The model that learns: embedded, or a folder of that size.")
    ] = "embedded",
    quiet: QuietFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Keep a person's photos and learn the face from them, so that it is restored truer.

    More photos can be added later. Photos that do not show the same person as the others are left out and named. One photo is
    enough; with two or more one is held out to check that learning helped. All of it stays in one folder on this machine, which
    nobody else may read; `people forget` deletes it.

    From then on `run`, `batch` and `people` recognise the person in every video by the likeness alone; they say so before the work, and
    --no-library turns it off. `known: no` in a people.yaml undoes it for one video.

    Learning makes a badly damaged face more like these photos: also in age, make-up and beard. Take photos of the time of the video.

    Examples:

      iconface-video people add anna holiday.jpg birthday.jpg

      iconface-video people add grandpa photos/grandpa --no-learn
    """
    from iconface_video.faces.identity_encoder import load_identity_encoder
    from iconface_video.identity.references import photo_detector
    from iconface_video.models.checkpoints import load_model
    from iconface_video.models.load_options import pick_device
    from iconface_video.personalize.adding import add_person, learn_person
    from iconface_video.personalize.library import PeopleLibrary
    from iconface_video.personalize.recipe import PersonalizeSettings

    encoder = load_identity_encoder("embedded")
    weights = None
    with make_display(quiet=quiet, as_json=as_json) as display:
        detector = photo_detector(SurveySettings())
        added = add_person(PeopleLibrary(library), name, photos, detector, encoder, AnchorSettings().min_similarity, display)
        if learn:
            loaded = load_model(model, pick_device("auto"), lora_form="fused")
            weights = learn_person(added.person, loaded, encoder, PersonalizeSettings(), display)
    sentence = None if weights is None else weights.facts.sentence
    notes = [*(f"left out {item}" for item in added.left_out), *added.notes]
    if as_json:
        print_json({**_to_dict(added.person), "learning": sentence, "notes": notes})
    elif not quiet:
        rows = [
            ("added", f"{added.person.name}: {counted(len(added.person.faces), 'photo')}"),
            ("kept in", str(added.person.folder)),
        ]
        rows += [("learning", sentence)] if sentence else []
        print_rows([*rows, *(("note", note) for note in notes)])


@app.command("list")
def list_people(library: LibraryFolder = None, as_json: JsonFlag = False) -> None:
    """Show who was added, with how many photos, and for how many models each was learnt.

    Example: iconface-video people list
    """
    from iconface_video.personalize.library import PeopleLibrary

    place = PeopleLibrary(library)
    known = [_to_dict(person) for person in place.everybody()]
    if as_json:
        print_json({"folder": str(place.folder), "people": known})
    elif not known:
        typer.echo(f"nobody in {place.folder}; `iconface-video people add NAME PHOTO...` adds somebody")
    else:
        rows = [(item["name"], f"{counted(len(item['photos']), 'photo')}, {_learnt_text(item['learnt'])}") for item in known]
        print_rows([*rows, ("kept in", str(place.folder))])


@app.command()
def forget(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who was added under that name.")], library: LibraryFolder = None
) -> None:
    """Delete a person's photos, embeddings and all that was learnt from them.

    Videos that were restored before stay as they are, and so do your own photos. Work folders of runs that recognised the person and
    are not done, or were kept, hold copies: they are named.

    Example: iconface-video people forget anna
    """
    from iconface_video.personalize.library import PeopleLibrary

    place = PeopleLibrary(library)
    copies = place.used_in(name)
    typer.echo(f"deleted: {place.forget(name)}")
    for folder in copies:
        typer.echo(
            f"copies of the photos: {folder} (a run that is not done, or was kept; delete it, or start that run over with --fresh)"
        )


def _to_dict(person: KnownPerson) -> dict[str, Any]:
    return {
        "name": person.name,
        "folder": str(person.folder),
        "photos": [str(face.path) for face in person.faces],
        "learnt": sorted(path.stem for path in (person.folder / "learnt").glob("*.safetensors")),
    }


def _learnt_text(bases: list[str]) -> str:
    return f"learnt for {counted(len(bases), 'model')}" if bases else "not learnt yet"
