"""The people whom the user keeps (`iconface-video people`), as the page shows them: who they are, and which of them a project shows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from iconface_video.errors import StoreError
from iconface_video.identity.references import Embed
from iconface_video.personalize.library import KnownPerson, PeopleLibrary
from iconface_video.session.known_people import find_known
from iconface_video.settings import AnchorSettings
from iconface_video.types import Survey
from iconface_video.web.people import Person, decided_people


class KnownPeople:
    """Thread-safe. The folder is looked at each time, so that whoever is added or forgotten elsewhere is known here, too."""

    def __init__(self, embed: Callable[[], Embed]) -> None:
        """embed: gives the identity encoder; asked for only where somebody is kept."""
        self.library = PeopleLibrary()
        self._embed = embed
        self._lock = threading.Lock()
        self._read: tuple[str, list[KnownPerson]] | None = None

    def everybody(self) -> list[KnownPerson]:
        """As the identity encoder of today sees them, but for those whose folder is damaged."""
        with self._lock:
            now = self.library.hash
            if self._read is None or self._read[0] != now:
                found = []
                for name in self.library.names():
                    with suppress(StoreError):
                        found.append(self.library.load(name).seen_by(self._embed()))
                self._read = now, found
            return self._read[1]

    def recognise(self, survey: Survey, people: Sequence[Person], settings: AnchorSettings) -> None:
        """Fill in whom of them each person is, as a run finds it."""
        everybody = self.everybody() if settings.library else []
        decided = decided_people(survey, people)
        found, _ = find_known(decided.chosen, decided.photos, everybody, settings) if everybody else ([], [])
        by_person = {item.found.person: item for item in found}
        names = {one.name.casefold() for one in everybody}
        for person in people:
            person.recognised = by_person.get(person.index)
            person.is_kept = person.name.casefold() in names

    def listed(self) -> dict[str, Any]:
        """For the page."""
        return {"folder": str(self.library.folder), "people": [self._described(name) for name in self.library.names()]}

    def _described(self, name: str) -> dict[str, Any]:
        try:
            person = self.library.load(name)
        except StoreError as error:
            return {"name": name, "photos": 0, "learnt": 0, "trouble": str(error)}
        learnt = len(list((person.folder / "learnt").glob("*.safetensors")))
        return {"name": person.name, "photos": len(person.faces), "learnt": learnt, "trouble": ""}

    def forget(self, name: str) -> list[Path]:
        """Delete all that is kept of somebody; folders of unfinished or kept work that still hold copies of the photos."""
        copies = self.library.used_in(name)
        self.library.forget(name)
        return copies
