"""people.yaml: who is in a clip, as the user says. Reading it, with the exact place of every mistake.

The file is the user's: it names, merges, splits and skips people and gives them photos. What the program found stands in the
survey beside it, which no edit changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import yaml

from iconface_video.errors import InputError, UsageError
from iconface_video.settings import nearest

FILE_KEYS = ("clip", "survey", "people", "nobody")
PERSON_KEYS = ("person", "name", "photos", "known", "learn", "skip", "same_as", "tracks")
NOT_KNOWN = ("no", "false", "off")
"""What `known` says of somebody who is none of the people that were added."""


@dataclass(frozen=True)
class PersonEntry:
    """One block of the file."""

    number: int
    """1-based; what the contact sheet calls the person."""
    name: str = ""
    """Empty: not named."""
    photos: tuple[Path, ...] = ()
    """Files and folders, seen from where the program runs."""
    skip: bool = False
    same_as: int | None = None
    """Number of the person that this one is merged into."""
    tracks: tuple[int, ...] = ()
    """Numbers of tracks, 1-based."""
    line: int = 0
    """In the file, 1-based; 0: it is in none."""
    known: str = ""
    """Who of the people that were added it is, or one of `NOT_KNOWN`; empty: as the likeness says."""
    learn: bool | None = None
    """Whether the person is learnt from the photos before restoring; None: as the settings (`personalize`) say."""

    @property
    def title(self) -> str:
        """For messages: "person 2 'Ben'"."""
        return f"person {self.number}" + (f" '{self.name}'" if self.name else "")


@dataclass(frozen=True)
class PeopleFile:
    """A people.yaml that is consistent in itself; `people_choice.apply_people_file` holds it against a survey."""

    path: Path
    clip: Path | None
    """The video, seen from where the program runs; None: not stated."""
    survey: str
    """Fingerprint of the survey that the track numbers belong to."""
    entries: tuple[PersonEntry, ...]
    nobody: tuple[int, ...] = ()
    """Tracks that belong to nobody, 1-based."""

    def entry(self, number: int) -> PersonEntry:
        return next(item for item in self.entries if item.number == number)

    def root_of(self, entry: PersonEntry) -> PersonEntry:
        """The person that an entry ends up as when all merges are followed."""
        while entry.same_as is not None:
            entry = self.entry(entry.same_as)
        return entry

    def place(self, entry: PersonEntry) -> str:
        """For messages: "people.yaml, line 12 (person 2 'Ben')"."""
        return f"{self.path}, line {entry.line} ({entry.title})"


def read_people_file(path: Path) -> PeopleFile:
    """Read and check a people.yaml.

    Raises InputError where the file or a photo in it is missing, UsageError for everything else that is wrong; the message
    names file, line and person, and the nearest right word.
    """
    document = _Document(path)
    values = document.mapping(document.root, "the file", FILE_KEYS)
    if "people" not in values:
        document.refuse(document.root, "it has no list 'people:'")
    clip = document.text(values["clip"]) if "clip" in values else ""
    raw = [_read_entry(document, node) for node in document.sequence(values["people"], "people")]
    numbered = _with_numbers(document, raw)
    names = _checked_names(document, numbered)
    entries = tuple(_finished(document, item, entry, numbered, names) for item, entry in numbered)
    nobody = document.numbers(values["nobody"], "nobody", "track") if "nobody" in values else ()
    found = PeopleFile(
        path, _beside(path, clip) if clip else None, document.text(values.get("survey")), entries, nobody
    )  # fmt: skip
    _check_merges(found)
    _check_tracks_once(found)
    return found


def _beside(file: Path, text: str) -> Path:
    """A path that is written as seen from the file's folder."""
    return file.parent / Path(text).expanduser()


@dataclass(frozen=True)
class _RawEntry:
    """A block whose number and whom it is the same as are not settled yet."""

    node: yaml.Node
    number: int | None
    same_as: yaml.Node | None


def _read_entry(document: _Document, node: yaml.Node) -> tuple[_RawEntry, PersonEntry]:
    where = "a person"
    values = document.mapping(node, where, PERSON_KEYS)
    number = document.number(values["person"], "person", "person") if not _is_empty(values.get("person")) else None
    name = document.text(values.get("name"))
    photos = tuple(_photo(document, item) for item in document.texts(values.get("photos"), "photos"))
    skip = document.truth(values["skip"], "skip") if not _is_empty(values.get("skip")) else False
    tracks = document.numbers(values["tracks"], "tracks", "track") if "tracks" in values else ()
    same_as = None if _is_empty(values.get("same_as")) else values["same_as"]
    known = document.text(values.get("known"))
    learn = document.truth(values["learn"], "learn") if not _is_empty(values.get("learn")) else None
    entry = PersonEntry(number or 0, name, photos, skip, None, tracks, document.line(node), known, learn)
    return _RawEntry(node, number, same_as), entry


def _photo(document: _Document, node: yaml.Node) -> Path:
    path = _beside(document.path, document.text(node))
    if not path.exists():
        near = nearest(path.name, [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else [])
        document.refuse_missing(node, f"there is no photo or folder of photos '{document.text(node)}'.{near}")
    return path


def _with_numbers(document: _Document, raw: Sequence[tuple[_RawEntry, PersonEntry]]) -> list[tuple[_RawEntry, PersonEntry]]:
    """Blocks without a number get the next free one; a number that stands twice is refused."""
    taken: dict[int, PersonEntry] = {}
    for item, entry in raw:
        if item.number is not None:
            if item.number in taken:
                document.refuse(item.node, f"person {item.number} stands already in line {taken[item.number].line}")
            taken[item.number] = entry
    free = (number for number in range(1, len(raw) + len(taken) + 2) if number not in taken)
    return [(item, entry if item.number is not None else replace(entry, number=next(free))) for item, entry in raw]


def _checked_names(document: _Document, numbered: Sequence[tuple[_RawEntry, PersonEntry]]) -> dict[str, int]:
    """Name -> number. Two people of one name are refused, as one would not know which of them a photo is for."""
    names: dict[str, PersonEntry] = {}
    for item, entry in numbered:
        first = names.get(entry.name.casefold()) if entry.name else None
        if first is not None:
            document.refuse(
                item.node,
                f"the name '{entry.name}' is that of person {first.number} (line {first.line}), too. "
                f"If both are one human, write 'same_as: {first.number}' here and leave the name empty",
            )
        if entry.name:
            names[entry.name.casefold()] = entry
    return {entry.name: entry.number for entry in names.values()}


def _finished(
    document: _Document,
    item: _RawEntry,
    entry: PersonEntry,
    numbered: Sequence[tuple[_RawEntry, PersonEntry]],
    names: Mapping[str, int],
) -> PersonEntry:
    """The block with its merge settled."""
    if item.same_as is None:
        return entry
    text = document.text(item.same_as)
    folded = {name.casefold(): number for name, number in names.items()}
    numbers = {str(other.number): other.number for _, other in numbered}
    target = numbers.get(text, folded.get(text.casefold()))
    if target is None:
        near = nearest(text, names) or f" People here: {', '.join(numbers)}."
        document.refuse(item.same_as, f"same_as is '{text}', which is neither number nor name of a person.{near}")
    if target == entry.number:
        document.refuse(item.same_as, f"{entry.title} cannot be the same as itself")
    what = _said_of(entry)
    if what:
        document.refuse(item.node, f"{what} must stand at person {target}, whom {entry.title} is the same as")
    return replace(entry, same_as=target)


def _said_of(entry: PersonEntry) -> str:
    """What a block says of the person that only the one with the number can have; empty: nothing."""
    if entry.name:
        return f"the name '{entry.name}'"
    if entry.skip:
        return "'skip: true'"
    if entry.known:
        return f"'known: {entry.known}'"
    return "" if entry.learn is None else f"'learn: {'yes' if entry.learn else 'no'}'"


def _check_merges(file: PeopleFile) -> None:
    for entry in file.entries:
        seen = [entry.number]
        other = entry
        while other.same_as is not None:
            other = file.entry(other.same_as)
            if other.number in seen:
                chain = " -> ".join(f"person {number}" for number in [*seen, other.number])
                raise UsageError(f"{file.place(entry)}: same_as goes in a circle ({chain}); one of them must have none")
            seen.append(other.number)


def _check_tracks_once(file: PeopleFile) -> None:
    owners: dict[int, PersonEntry] = {}
    for entry in file.entries:
        for track in entry.tracks:
            if track in owners and owners[track] is not entry:
                first = owners[track]
                raise UsageError(
                    f"{file.place(entry)}: track {track} stands at {first.title} (line {first.line}), too; "
                    "take it out where it does not belong"
                )
            owners[track] = entry
    for track in file.nobody:
        if track in owners:
            raise UsageError(f"{file.path}: track {track} stands under 'nobody' and at {owners[track].title}; keep one of them")


def _is_empty(node: yaml.Node | None) -> bool:
    """Nothing there: no key, no value, or an empty text."""
    return node is None or (isinstance(node, yaml.ScalarNode) and node.value.strip() in ("", "~", "null"))


class _Document:
    """A parsed YAML file whose nodes know their lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._title: dict[int, str] = {}
        try:
            text = path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            near = nearest(path.name, [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else [])
            raise InputError(f"{path}: there is no such people file.{near} `iconface-video people CLIP` writes one") from None
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not a text in UTF-8"
            raise InputError(f"{path}: the people file cannot be read ({reason})") from error
        try:
            root = yaml.compose(text, yaml.SafeLoader)
        except RecursionError:
            raise UsageError(f"{path}: nested far too deep for a people file") from None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            place = f", line {mark.line + 1}" if mark is not None else ""
            problem = getattr(error, "problem", None) or "characters that no text holds"
            raise UsageError(
                f"{path}{place}: not valid YAML ({problem}). Names with ':' or '#' need quotes, lists need [commas, between]"
            ) from error
        if root is None:
            raise UsageError(f"{path}: it is empty; `iconface-video people CLIP` writes one")
        self.root: yaml.Node = root

    def line(self, node: yaml.Node) -> int:
        return int(node.start_mark.line) + 1

    def refuse(self, node: yaml.Node, what: str) -> NoReturn:
        raise UsageError(f"{self.path}, line {self.line(node)}{self._person(node)}: {what}")

    def refuse_missing(self, node: yaml.Node, what: str) -> NoReturn:
        raise InputError(f"{self.path}, line {self.line(node)}{self._person(node)}: {what}")

    def _person(self, node: yaml.Node) -> str:
        """ " (person 2 'Ben')" where the node stands inside that block."""
        return self._title.get(id(node), "")

    def mapping(self, node: yaml.Node, what: str, known: Sequence[str]) -> dict[str, yaml.Node]:
        """Keys and values; unknown keys and keys that stand twice are refused."""
        if not isinstance(node, yaml.MappingNode):
            self.refuse(node, f"{what} must be made of lines like '{known[0]}: ...'")
        found: dict[str, yaml.Node] = {}
        self._remember(node)
        for key, value in node.value:
            if key.value not in known:
                self.refuse(key, f"unknown entry '{key.value}'.{nearest(str(key.value), known)} Known: {', '.join(known)}")
            if key.value in found:
                self.refuse(key, f"'{key.value}' stands twice in this block")
            found[key.value] = value
        return found

    def _remember(self, node: yaml.MappingNode) -> None:
        """Which person the nodes of a block belong to."""
        plain = {str(key.value): str(value.value) for key, value in node.value if isinstance(value, yaml.ScalarNode)}
        words = [f"person {plain['person']}" if plain.get("person") else "", f"'{plain['name']}'" if plain.get("name") else ""]
        title = " ".join(word for word in words if word)
        if title:
            self._title.update({id(item): f" ({title})" for item in _within(node)})

    def sequence(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        if _is_empty(node):
            return []
        if not isinstance(node, yaml.SequenceNode):
            self.refuse(node, f"'{what}' must be a list: [one, two] or lines that begin with '- '")
        return list(node.value)

    def text(self, node: yaml.Node | None) -> str:
        """As it is written, so that a person may be called No or 7."""
        if node is None or _is_empty(node):
            return ""
        if not isinstance(node, yaml.ScalarNode):
            self.refuse(node, "here must be a text, no list")
        return str(node.value).strip()

    def texts(self, node: yaml.Node | None, what: str) -> list[yaml.Node]:
        """Of a list, or of one text that stands for a list of one."""
        if node is None or _is_empty(node):
            return []
        items = [node] if isinstance(node, yaml.ScalarNode) else self.sequence(node, what)
        return [item for item in items if not _is_empty(item)]

    def truth(self, node: yaml.Node, what: str) -> bool:
        text = self.text(node).lower()
        if text not in ("true", "false", "yes", "no", "on", "off"):
            self.refuse(node, f"{what} is '{text}', must be true or false")
        return text in ("true", "yes", "on")

    def number(self, node: yaml.Node, what: str, kind: str) -> int:
        text = self.text(node)
        if not (text.isascii() and text.isdigit()) or int(text) < 1:
            self.refuse(node, f"{what} is '{text}', must be the number of a {kind} (1, 2, 3 ...)")
        return int(text)

    def numbers(self, node: yaml.Node, what: str, kind: str) -> tuple[int, ...]:
        return tuple(dict.fromkeys(self.number(item, what, kind) for item in self.texts(node, what)))


def _within(node: yaml.Node) -> Iterator[yaml.Node]:
    """The node and all below it."""
    yield node
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _within(key)
            yield from _within(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _within(item)
