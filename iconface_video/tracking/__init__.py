"""Faces followed through shots: from detections to finished, smoothed tracks, and the survey pass that makes them.

Touch freely: association and smoothing (tests/tracking has the scenes that must keep working). With care: `store`, since surveys are kept and edited.
"""
