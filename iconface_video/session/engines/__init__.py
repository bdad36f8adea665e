"""Who runs the model: this process, processes of this machine, or a Ray cluster; the faces are the same to the bit.

`engine` says what each of them does and picks one, `job` is what a worker needs and does, `pool` how workers share a clip's
segments, `processes` and `ray_engine` where workers run. Who is used and who is not (`pool`) keeps that promise: change it last.
"""
