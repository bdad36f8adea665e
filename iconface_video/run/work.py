"""The work folder: where survey and restored crops lie while a run works, beside the output."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType

from iconface_video.errors import OutputError

SUFFIX = ".iconface-work"
CROPS = "crops"
SURVEY = "survey"


class WorkFolder:
    """Created when entered; removed when left, unless it is kept.

    Only a folder that this program made (or an empty one) is ever removed. After a failure it is removed as well, unless the
    caller keeps it: resuming is up to a journal, which would lie here, too.
    """

    def __init__(self, path: Path, keep: bool) -> None:
        self.path = path
        self.keep = keep

    @property
    def crops(self) -> Path:
        return self.path / CROPS

    @property
    def survey(self) -> Path:
        return self.path / SURVEY

    def __enter__(self) -> WorkFolder:
        if self.path.exists() and not is_work_folder(self.path):
            raise OutputError(
                f"{self.path}: is in the way: it is no work folder of this program. Remove it or choose another with --work"
            )
        try:
            shutil.rmtree(self.path, ignore_errors=True)  # left over from a run that was killed
            self.crops.mkdir(parents=True)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot create the work folder ({error.strerror})") from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self.keep:
            shutil.rmtree(self.path, ignore_errors=True)


def is_work_folder(path: Path) -> bool:
    """An empty folder, or one with nothing but a work folder's own parts."""
    return path.is_dir() and all(item.name in (CROPS, SURVEY) for item in path.iterdir())


def work_folder_of(output: Path) -> Path:
    """``<out>.iconface-work`` beside the output."""
    return output.with_name(output.name + SUFFIX)
