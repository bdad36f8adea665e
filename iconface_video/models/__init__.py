"""The network: transformer, conditioning, autoencoders, sampler, checkpoints. Knows pictures and embeddings, nothing of videos.

Touch freely: how fast something is, as long as the same bits come out. With care: names and shapes of tensors and the fields of model_index.json,
since checkpoints hold them; the equations, each of which names its source and has a test.
"""
