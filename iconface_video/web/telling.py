"""What the page is told of one project, and what a job of it would be about as things stand."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from iconface_video.types import Survey
from iconface_video.web import results
from iconface_video.web.facts import clip_facts, listed
from iconface_video.web.kept import RESULTS, KeptProject
from iconface_video.web.on_view import faces_on_view
from iconface_video.web.people import decided_people
from iconface_video.web.results import load_results, recipe_of
from iconface_video.web.work import Estimate, Pace, Wanted, estimated


class ToldProject(KeptProject):
    """Methods may be called from any thread."""

    _estimate: tuple[Any, Estimate] | None = None

    def estimate(self) -> Estimate | None:
        """Of the whole run as things stand; None where that is not known."""
        found, known = self.survey, self.record.pace
        if found is None or known is None:
            return None
        wanted = self._wanted(found)
        of = dict(wanted.recipe), self._are_kept(wanted)
        if self._estimate is None or self._estimate[0] != of:
            self._estimate = of, estimated(wanted, Pace.of(known), self.engine.crop_sizes(wanted.settings), of[1])
        return self._estimate[1]

    def _are_kept(self, wanted: Wanted) -> bool:
        """Whether the faces of the latest run are those that are wanted."""
        of = self.record.kept_with
        return of is not None and not results.WITH_MODEL.intersection(results.changed(of, wanted.recipe))

    def faces_at(self, seconds: float) -> list[dict[str, Any]]:
        """Who is where in the frame at a time (`faces_on_view`); nobody before the clip was looked through."""
        with self._lock:
            return [] if self.survey is None else faces_on_view(self.people, self.survey, seconds)

    def summary(self) -> dict[str, Any]:
        """For the list: what can be told without reading more than the record."""
        return listed(self, self.results if self._is_open else load_results(self.folder / RESULTS))

    def snapshot(self) -> dict[str, Any]:
        """All that the page shows, as plain values."""
        self.open()
        with self._lock:
            self._recognise()
            job, now, about = self.job, recipe_of(self.options, self.people), self.estimate()
            preview = self.preview
            is_fresh = preview is not None and not results.WITH_MODEL.union({"strengths"}).intersection(
                results.changed(preview.recipe, now)
            )
            return {
                "id": self.id,
                "name": self.record.name,
                "folder": str(self.folder.absolute()),
                "results_folder": str((self.folder / RESULTS).absolute()),
                "trouble": self.trouble(),
                "warnings": self._warnings,
                "failed": {"kind": self.record.failed_kind, "error": self.record.failed} if self.record.failed else None,
                "clip": None if self.info is None else clip_facts(self.info, self.record.clip, self.survey),
                "people": None if self.survey is None else [person.to_dict() for person in self.people],
                "options": self.options.used,
                "looked": None if self.record.looked is None else asdict(self.record.looked),
                "estimate": None if about is None else about.to_dict(),
                "job": None if job is None else {**job.snapshot(self.queue.ahead_of(job)), "notes": job.notes},
                "paused": self.queue.is_paused,
                "preview": preview.to_dict() if preview is not None and is_fresh else None,
                "results": [item.to_dict(now) for item in reversed(self.results)],
            }  # fmt: skip

    def _wanted(self, found: Survey) -> Wanted:
        options = self.options
        self._recognise()
        recipe = recipe_of(options, self.people)
        return Wanted(
            decided_people(found, self.people),
            options.settings,
            options.part,
            options.container,
            recipe,
            self.record.chosen,
            options.folder,
            self.id,
        )

    def _recognise(self) -> None:
        if self.survey is not None:
            self.engine.known.recognise(self.survey, self.people, self.options.settings.anchors)
