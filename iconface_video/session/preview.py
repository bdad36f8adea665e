"""A stretch of a clip, restored to be looked at before the long work begins: with the same identities, crop sizes and noise as in
the whole clip, so it shows what will come.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from iconface_video.render.renderer import Renderer, with_shares
from iconface_video.restore.crop_store import CropStore, estimate_bytes
from iconface_video.restore.face_model import FaceModel, neighbours_of
from iconface_video.restore.plan import make_plan
from iconface_video.restore.timeline import DECODE_AHEAD_FRAMES, RestoreContext, restore_timeline
from iconface_video.session.clip import Clip, Watch
from iconface_video.session.clip_faces import ClipFaces
from iconface_video.session.memory import Need, check_space
from iconface_video.types import Frame, Segment
from iconface_video.video.decode import prefetch
from iconface_video.video.output_size import line_scale


@contextmanager
def restored_stretch(
    faces: ClipFaces, model: FaceModel, first_pts: int, last_pts: int, crops: Path
) -> Iterator[Iterator[tuple[Frame, Frame]]]:
    """Frames of a stretch before and after, at full strength: blending with the input is left to whoever shows them.

    faces: of the whole clip.  first_pts, last_pts: both inclusive.  crops: folder in which the restored faces lie until the
    block is left. Raises DecodeError, OutputError; Cancelled when the watch says so.
    """
    settings, watch = faces.settings, faces.watch
    clip = Clip.between(faces.clip.reader, first_pts, last_pts + 1)
    anchors = faces.anchors()
    with watch.stage("restore"):
        whole = make_plan(faces.survey().survey, settings.restore, model.crop_sizes, line_scale(clip.info, settings.render))
        plan = replace(whole, segments=(Segment(0, first_pts, last_pts),))
        for size in plan.crops_by_size():
            model.noise_shape(size)  # refuses a size that the model does not take
        sizes = [item.crop_size for found in plan.rows_in(first_pts, last_pts).values() for item, _ in found]
        check_space([Need(crops, estimate_bytes({size: sizes.count(size) for size in set(sizes)}), "the restored faces")])
        context = RestoreContext(plan, clip.info, model, anchors, settings.restore, crops)
        # Frames of the whole clip: the stretch's first and last faces have neighbours outside of it.
        restore_timeline(context, faces.clip.frames, watch.report, watch.check)
    full = replace(settings.render, strength=1.0)
    with prefetch(clip.frames(), DECODE_AHEAD_FRAMES) as frames:
        crops_at = with_shares(CropStore(crops, plan.segments).at, faces.shares)
        yield _pairs(frames, Renderer(crops_at, full, steadied=neighbours_of(model) > 0), watch)


def _pairs(frames: Iterator[Frame], renderer: Renderer, watch: Watch) -> Iterator[tuple[Frame, Frame]]:
    """Each frame with what became of it. The renderer holds back a few frames, so the inputs wait for it."""
    waiting: dict[int, Frame] = {}

    def seen() -> Iterator[Frame]:
        for frame in frames:
            watch.check()
            waiting[frame.pts] = frame
            yield frame

    for after in renderer.render(seen()):
        yield waiting.pop(after.pts), after
