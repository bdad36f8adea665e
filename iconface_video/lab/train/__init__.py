"""How the weights come about: data, tasks (one class a stage), one trainer under all of them.

Touch freely: losses of a task, settings with a default that changes nothing. With care: names of tensors, of checkpoint entries and of settings in
training configs, since runs go on from what earlier releases wrote.
"""
