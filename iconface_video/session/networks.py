"""The networks that sessions work with: those that a caller gives, the others loaded when first needed and kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cache, cached_property
from typing import TYPE_CHECKING

from iconface_video.errors import StoreError
from iconface_video.faces.encoder_folder import EMBEDDED_FOLDER
from iconface_video.identity.references import Embed
from iconface_video.restore.face_model import FaceModel
from iconface_video.session.checks import check_settings
from iconface_video.session.engines.engine import Check, Engine, engine_kind, make_engine
from iconface_video.session.engines.job import load_restorer
from iconface_video.session.fingerprint import hash_folder, hash_weights
from iconface_video.settings import RestoreSettings, RunSettings

if TYPE_CHECKING:
    from iconface_video.personalize.library import KnownPerson, PeopleLibrary

EMBEDDED, GIVEN = "embedded", "given"
"""Names of an identity encoder: the one that comes with the package, and one of the caller's, about which no more is known."""


def load_embedder() -> Embed:
    """The identity encoder that comes with the package."""
    from iconface_video.faces.identity_encoder import embed_crops, load_identity_encoder

    encoder = load_identity_encoder()
    return lambda crops: embed_crops(encoder, crops)


class Networks:
    """Restorer and identity encoder, for one clip or for several one after another with the same restore settings."""

    def __init__(
        self,
        model: FaceModel | None = None,
        engine: Engine | None = None,
        embed: Embed | None = None,
        *,
        encoder: str = "",
        keep_engine: bool = False,
    ) -> None:
        """model: one that works in this process.  engine: one that is open already.  embed: the identity encoder; what is
        not given is loaded as the settings say.

        encoder: name of `embed`, where it is a known one.  keep_engine: for the next clip, until `close`.
        """
        self.model, self._engine, self._embed = model, engine, embed
        self.encoder = encoder or (EMBEDDED if embed is None else GIVEN)
        self._keep_engine = keep_engine
        self._kept: Engine | None = None
        self._weights: dict[tuple[str, float, str], str] = {}

    def prepared(self, settings: RunSettings) -> RunSettings:
        """The settings, checked, with reference pictures cut as the model wants its faces; read from its index alone.

        Raises UsageError or CheckpointError. A model that was given is taken as it is.
        """
        if self.model is not None:
            return settings
        check_settings(settings)
        if settings.anchors.picture_scale is not None:
            return settings
        from iconface_video.models.checkpoint_index import checkpoint_traits

        scale = settings.restore.crop_scale or checkpoint_traits(settings.restore.model).crop_scale
        return settings if scale == 1 else replace(settings, anchors=replace(settings.anchors, picture_scale=scale))

    @property
    def embed(self) -> Embed:
        """The identity encoder; loaded (and torch with it) when the first face is there."""
        if self._embed is None:
            loaded = cache(load_embedder)
            self._embed = lambda crops: loaded()(crops)
        return self._embed

    @cached_property
    def library(self) -> PeopleLibrary:
        """The user's own people."""
        from iconface_video.personalize.library import PeopleLibrary

        return PeopleLibrary()

    @property
    def known_people(self) -> list[KnownPerson]:
        """Everybody in it, as the identity encoder of today sees them; read once."""
        return self._read_people[0]

    @property
    def people_notes(self) -> list[str]:
        """Whose folder in it cannot be used, and why: that is no reason to refuse a video."""
        return self._read_people[1]

    @cached_property
    def _read_people(self) -> tuple[list[KnownPerson], list[str]]:
        people, notes = [], []
        for name in self.library.names():
            try:
                people.append(self.library.load(name).seen_by(self.embed))
            except StoreError as error:
                notes.append(f"'{name}' is not recognised: {error}")
        return people, notes

    @cached_property
    def encoder_hash(self) -> str:
        """Of the embedded encoder's files; of one that is given, its name."""
        if self.encoder != EMBEDDED:
            return self.encoder
        return hash_folder(EMBEDDED_FOLDER)

    def weights(self, settings: RestoreSettings) -> str | None:
        """Hash of the model's files, read once; None for a model that is given, which has no files. Raises CheckpointError."""
        if self.model is not None:
            return None
        files = settings.model, settings.start_sigma, settings.start_from
        if files not in self._weights:
            self._weights[files] = hash_weights(settings)
        return self._weights[files]

    @contextmanager
    def engine(self, settings: RunSettings, check: Check) -> Iterator[Engine]:
        """What restores; unless it is kept, its workers leave with the block.

        check: called often while workers start; raises to stop. Raises UsageError, CheckpointError.
        """
        if self._engine is not None:
            yield self._engine
            return
        if self._keep_engine:
            if self._kept is None:
                self._kept = make_engine(settings, self._local_model(settings))
            yield self._kept
            return
        with closing(make_engine(settings, self._local_model(settings), check)) as opened:
            yield opened

    def _local_model(self, settings: RunSettings) -> FaceModel | None:
        """A model that works in this process is loaded here."""
        return load_restorer(settings.restore) if self.model is None and engine_kind(settings) == "local" else self.model

    def close(self) -> None:
        """Let the kept engine's workers go."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None
