"""Who is who: tracks grouped into people, the user's photos, one identity anchor a person (IConFace eq. 3-4).

Touch freely: how photos and crops are weighed. With care: `people_file`, since users keep files of that form, and `people_choice`,
which may lose nothing that they wrote.
"""
