"""Stored crops back into frames: colour and grain matched, the residual steadied, pasted on the smallest box. And two videos side by side.

Touch freely: how a face blends. What must hold: samples outside the masks reach the encoder as they were decoded; strength 0 gives the input.
"""
