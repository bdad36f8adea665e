"""The recipes: one module a job, each reads top to bottom. Only the command line, the page in the browser and other recipes call them.

Touch freely: the order and the words of a job. What works on frames, faces or tensors belongs into a room.
"""
