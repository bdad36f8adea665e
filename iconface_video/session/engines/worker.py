"""A worker: loads the model once, then restores the segments that it is told to. The same in a process and in a Ray actor."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable

from iconface_video.errors import IconFaceError
from iconface_video.session.engines.job import JobSession, WorkerSetup, model_facts
from iconface_video.session.engines.messages import Broken, Command, Done, Faces, Message, Open, Opened, Ready, Refused

Send = Callable[[Message], None]
Deliver = Callable[[Done], Done]
"""What is done with a finished segment; returns the message that says that it was done."""


def serve(
    setup: WorkerSetup,
    receive: Callable[[], Command | None],
    send: Send,
    deliver: Deliver = lambda done: done,
) -> None:
    """Work until `receive` gives None.

    A refusal (IconFaceError) is sent and the worker goes on; after anything else it says `Broken` and returns: what state
    a GPU is in after an error is not known.
    """
    try:
        try:
            _pin_threads(setup.threads)
            model = setup.load(setup.restore)
            send(Ready(model_facts(model, setup)))
        except IconFaceError as error:
            return send(Refused(error))
        session: JobSession | None = None
        while (command := receive()) is not None:
            try:
                if isinstance(command, Open):
                    session = JobSession(command.job, model)
                    send(Opened())
                else:
                    assert session is not None, "a clip is opened before its segments"
                    send(deliver(Done(session.restore(command.index, lambda count: send(Faces(count))))))
            except IconFaceError as error:
                send(Refused(error))
    except (EOFError, ConnectionError):
        return  # the employer is gone
    except Exception as error:
        send(Broken(_reason(error)))


def _pin_threads(threads: int) -> None:
    """Torch's own threads. The library is not imported for this: a model that needs it will."""
    if threads:
        import torch

        torch.set_num_threads(threads)


def _reason(error: Exception) -> str:
    """One line for people; the traceback goes to stderr."""
    traceback.print_exception(error, file=sys.stderr)
    text = " ".join(str(error).split()) or "no message"
    return f"{type(error).__name__}: {text}"
