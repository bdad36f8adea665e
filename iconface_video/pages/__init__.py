"""HTML and pictures for people: contact sheet, page of a run, tables of a measurement, sliders. Each is whole in itself: no network.

Touch freely: looks and words. What comes from files or users is escaped.
"""
