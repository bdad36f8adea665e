"""The model over a clip: which faces, cut into segments, with shared noise, into the crop store.

Touch freely: batching, what is left alone and why. What must hold: a segment's crops depend on (input, survey, anchors, model, settings, seed) alone,
never on the order of work, for that is what resuming and workers stand on. With care: the store's format.
"""
