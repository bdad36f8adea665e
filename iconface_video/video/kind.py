from dataclasses import make_dataclass
import numpy as np
from iconface_video.video.kind_pictures import runs_of
from iconface_video.video.kind_measures import measures_of, run_of
KINDS=("tape","film","camera","broadcast","unknown")
def measures_of_runs(runs, rate):
    each=[measures_of(run_of(p)) for p in runs]
    d={k: float(np.median([e[k] for e in each])) for k in each[0]}
    d["rate"]=rate
    return make_dataclass("M",list(d))(**d)
class V: kind="unknown"; sentence=""
def judge(m): return V
