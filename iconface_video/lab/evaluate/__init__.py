"""How good: restored faces, restored videos, the identity encoder, the detector, each a protocol, its metrics, a report.

Touch freely: new metrics and rows. With care: what a figure's name means, since reports of different releases are compared by name.
"""
