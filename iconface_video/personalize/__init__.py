"""Learning one person from a few photos: small differences to the restorer's weights, and the library of people that a user keeps.

`person` is the way through (photos in, `PersonWeights` out), `difference` what is learnt and how it is put on, `check` why nobody gets
worse by it. Touch freely: how pairs are made (`views`), how many steps. With care: the file's form (`person_weights`), since people are kept for years.
"""
