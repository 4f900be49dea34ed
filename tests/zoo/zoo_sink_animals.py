"""Sinks, right and wrong: each wrong one has one fault."""

import json
import threading
import time
from pathlib import Path


class Good:
    """Appends JSON lines; one write for each event."""

    mode = "a"

    def __init__(self, target, context):
        self.path = Path(target or context.default_path)
        self.file = self.path.open(self.mode, encoding="utf-8", newline="\n")

    def line(self, event):
        return json.dumps({"chunk_id": event.chunk_id, "status": event.status})

    def emit(self, event):
        self.file.write(self.line(event) + "\n")

    def flush(self):
        if not self.file.closed:
            self.file.flush()

    def close(self):
        self.file.close()


class GoodButDeafAfterwards(Good):
    def emit(self, event):
        if not self.file.closed:
            super().emit(event)


class FlushesNothing(Good):
    def flush(self):
        pass


class ClosesWithoutFlush(Good):
    def __init__(self, target, context):
        super().__init__(target, context)
        self.waiting = []

    def emit(self, event):
        self.waiting.append(self.line(event) + "\n")
        if len(self.waiting) >= 20:
            self.flush()

    def flush(self):
        self.file.writelines(self.waiting)
        self.waiting = []
        super().flush()


class DropsEveryTenth(Good):
    seen = 0

    def emit(self, event):
        self.seen += 1
        if self.seen % 10:
            super().emit(event)


class BelongsToItsThread(Good):
    def __init__(self, target, context):
        super().__init__(target, context)
        self.thread = threading.get_ident()

    def emit(self, event):
        if threading.get_ident() != self.thread:
            raise RuntimeError("objects created in a thread can only be used in that same thread")
        super().emit(event)


class SpeaksAscii(Good):
    def emit(self, event):
        self.line(event).encode()
        event.chunk_id.encode("ascii")
        super().emit(event)


class SplitsLines(Good):
    def line(self, event):
        return json.dumps({"chunk_id": "\n".join(event.chunk_id.splitlines()), "status": event.status})


class ChangesEvents(Good):
    def emit(self, event):
        event.details = {**event.details, "host": "here"}
        super().emit(event)


class ClosesOnce(Good):
    def close(self):
        self.file.flush()
        self.file.close()
        self.close = self.fail

    def fail(self):
        raise ValueError("I/O operation on closed file")


class WritesTwice(ClosesWithoutFlush):
    def emit(self, event):
        self.waiting.append(self.line(event) + "\n")

    def flush(self):
        with self.path.open("a") as file:
            file.writelines(self.waiting)

    def close(self):
        self.flush()


class NeedsEvents(Good):
    last = None

    def emit(self, event):
        self.last = event
        super().emit(event)

    def close(self):
        self.last.chunk_id.encode()
        super().close()


class StartsAnew(Good):
    mode = "w"


class ReopensForLateEvents(Good):
    def emit(self, event):
        if self.file.closed:
            self.file = self.path.open("w", encoding="utf-8")
        super().emit(event)


class IsSlow(Good):
    def emit(self, event):
        time.sleep(0.015)
        super().emit(event)


class Prints(Good):
    def emit(self, event):
        print(event.chunk_id)
        super().emit(event)
