"""Who runs the model: this process, several processes on this machine, or a Ray cluster, behind one interface.

What must hold: the same crops, to the bit, whoever made them; a worker that dies costs its segment, not the run.
"""
