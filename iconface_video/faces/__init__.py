"""Faces in single pictures: detection, alignment, quality, identity embeddings. Knows nothing of videos or tracks.

Touch freely: a detector of one's own behind `detector.Detector` (tests/faces says what it must do). With care: `align`, since stored crops,
trained weights and anchors all stand in its frame.
"""
