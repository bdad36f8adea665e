"""One clip's work while it goes on: work folder, journal, fingerprints, memory plan, report; many clips in a row (`batch`).

With care: whatever is written here is read by later releases; what a result depends on belongs into its fingerprint (`parts`), and nothing else.
"""
