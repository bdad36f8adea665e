"""Photos of one person in, what was learnt of the person out: learning, and the check on a photo that was held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from iconface_video.errors import ReferencePhotoError
from iconface_video.faces.identity_encoder import IdentityEncoder, load_identity_encoder
from iconface_video.models.model import IConFaceModel
from iconface_video.personalize.check import VIEWS, Figures, HeldOutViews, hold_out, is_better
from iconface_video.personalize.difference import Factors, Wearer
from iconface_video.personalize.learning import Learner, OnStep, PersonLearner, ShouldStop
from iconface_video.personalize.person_weights import HeldOutCheck, PersonFacts, PersonWeights, weights_hash
from iconface_video.personalize.photos import PhotoFace
from iconface_video.personalize.recipe import PersonalizeSettings
from iconface_video.types import Float32, UInt8

STRENGTHS = (1.0, 0.75, 0.5, 0.25)
"""Tried from the first on."""
UNCHECKED_STRENGTH = 0.75
"""Of what was learnt from one photo: nothing was left to check it with."""


def personalize(
    model: IConFaceModel,
    photos: Sequence[PhotoFace],
    settings: PersonalizeSettings,
    on_progress: OnStep = lambda done, total: None,
    should_stop: ShouldStop = lambda: False,
    encoder: IdentityEncoder | None = None,
) -> PersonWeights:
    """Learn one person; the model is as it was afterwards, to the bit.

    photos: the person's face in each, surest first, as `choose_photos` gives them; with two or more one is held out, and the
    learnt weights are kept only where they do better on damaged views of it.  encoder: the embedded one when None.
    The same arguments give the same weights on a processor (with as many threads).

    Raises ReferencePhotoError for no photo, UsageError for a model of another kind, Cancelled.
    """
    if not photos:
        raise ReferencePhotoError("there is no photo that a person can be learnt from; the base's weights are used")
    encoder = encoder or load_identity_encoder("embedded", model.device)
    learn_from, held_out = hold_out(photos)
    embeddings = np.stack([face.embedding for face in learn_from])
    learner = learner_of(model, encoder, [face.crop for face in learn_from], embeddings, settings)
    factors = learner.run(on_progress, should_stop)
    base = weights_hash(model)
    if held_out is None:
        return PersonWeights(factors, PersonFacts(base, len(learn_from), UNCHECKED_STRENGTH, settings, None))
    strength, check = _checked(
        model, factors, HeldOutViews(held_out.crop, learn_from, encoder, replace(settings, size=learner.size))
    )
    return PersonWeights(factors if strength else {}, PersonFacts(base, len(learn_from), strength, settings, check))


def learner_of(
    model: IConFaceModel, encoder: IdentityEncoder, photos: Sequence[UInt8], embeddings: Float32, settings: PersonalizeSettings
) -> Learner:
    """The one for this kind of model. Raises UsageError for a model that cannot learn."""
    if model.traits.prediction == "image":
        return PersonLearner(model, encoder, photos, embeddings, settings)
    from iconface_video.personalize.full_size_learner import FullSizeLearner

    return FullSizeLearner(model, encoder, photos, embeddings, settings)


def _checked(model: IConFaceModel, factors: dict[str, Factors], views: HeldOutViews) -> tuple[float, HeldOutCheck]:
    """The strength that makes the held-out photo's views most like it, of those that cost no more than they may; 0: none."""
    wearer = Wearer(model)
    base = views.figures(views.restored(model))
    found: dict[float, Figures] = {}
    try:
        for strength in STRENGTHS:
            wearer.put_on(factors, strength)
            found[strength] = views.figures(views.restored(model))
    finally:
        wearer.take_off()
    good = [strength for strength in STRENGTHS if is_better(found[strength], base)]
    chosen = max(good, key=lambda strength: found[strength].likeness, default=0.0)
    told = found[chosen or STRENGTHS[0]]
    return chosen, HeldOutCheck(VIEWS, base.likeness, told.likeness, base.psnr, told.psnr)
