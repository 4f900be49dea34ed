"""Schedulers, right and wrong: each wrong one has one fault."""

import threading
import time

import attrs

from badc_core.scheduling import ShardState, Submission
from badc_core.worker import work

POOLS = {}


class Good:
    """One thread that does one shard after the other."""

    name = None

    def __init__(self, options):
        self.name = type(self).__name__.lower()

    def render(self, run):
        return {"todo.txt": f"{run.plan.shards} shards\n"}

    def submit(self, run, shards):
        number = len(POOLS)
        POOLS[number] = pool = {"run": run, "states": dict.fromkeys(range(run.plan.shards), ShardState("waiting"))}
        pool["thread"] = threading.Thread(target=self.work, args=(run, list(shards), pool), daemon=True)
        pool["thread"].start()
        return Submission(self.name, run.plan.shards, {"number": number})

    def work(self, run, shards, pool):
        try:
            work(run, run.devices[0], iter(self.chosen(shards)), lambda index: self.settled(pool, index))
            end = ShardState("cancelled")
        except Exception as error:
            end = ShardState("failed", "cpu-0", error)
        for index, state in pool["states"].items():
            if state.state == "waiting":
                pool["states"][index] = end

    def chosen(self, shards):
        return shards

    def settled(self, pool, index):
        pool["states"][index] = ShardState("done")

    def states(self, submission):
        pool = POOLS.get(submission.details["number"])
        if pool is None:
            return dict.fromkeys(range(submission.shards), ShardState("unknown"))
        return dict(pool["states"])

    def cancel(self, submission):
        pool = POOLS.get(submission.details["number"])
        if pool is not None:
            pool["run"].stop.set()
            pool["thread"].join(10)


class DoesShardsTwice(Good):
    def chosen(self, shards):
        return [*shards, *shards[:1]]


class ForgetsTheLast(Good):
    def work(self, run, shards, pool):
        super().work(run, shards, pool)
        if len(shards) == 9:
            pool["states"] = dict.fromkeys(pool["states"], ShardState("done"))

    def chosen(self, shards):
        return shards[:-1] if len(shards) == 9 else shards


class TellsOfRunningOnly(Good):
    def states(self, submission):
        return {index: state for index, state in super().states(submission).items() if index < 2}


class SpeaksItsOwnWords(Good):
    def states(self, submission):
        found = super().states(submission)
        return {i: ShardState("PENDING") if s.state == "waiting" and len(found) == 4 else s for i, s in found.items()}


class CallsItDoneEarly(Good):
    def work(self, run, shards, pool):
        if len(shards) == 4 and run.plan.options["delay_ms"] == 30:
            pool["states"][0] = ShardState("done")
            time.sleep(0.2)
        super().work(run, shards, pool)


class SubmitsObjects(Good):
    def submit(self, run, shards):
        made = super().submit(run, shards)
        return attrs.evolve(made, details={**made.details, "folder": run.folder})


class NumbersByText(Good):
    """Keeps its numbers as keys, which JSON makes texts."""

    def submit(self, run, shards):
        made = super().submit(run, shards)
        return attrs.evolve(made, details={**made.details, "by_index": {0: "job"}})

    def states(self, submission):
        submission.details["by_index"][0]
        return super().states(submission)


class WaitsForItsWork(Good):
    def submit(self, run, shards):
        made = super().submit(run, shards)
        POOLS[made.details["number"]]["thread"].join()
        return made


class RendersTheTime(Good):
    def render(self, run):
        return {"todo.txt": f"made at {time.perf_counter_ns()}\n"}


class RendersToDisk(Good):
    def render(self, run):
        (run.folder / "todo.txt").write_text("")
        return {}


class CannotCancel(Good):
    def cancel(self, submission):
        pass


class DoesNotStop(Good):
    def submit(self, run, shards):
        own = attrs.evolve(run, stop=threading.Event())
        return super().submit(own, shards)


class CallsFailureDone(Good):
    def work(self, run, shards, pool):
        super().work(run, shards, pool)
        for index, state in pool["states"].items():
            if state.state == "failed":
                pool["states"][index] = ShardState("done")


class FailsWithoutAWord(Good):
    def work(self, run, shards, pool):
        super().work(run, shards, pool)
        for index, state in pool["states"].items():
            if state.state == "failed":
                pool["states"][index] = ShardState("failed")


class NeedsShards(Good):
    def submit(self, run, shards):
        shards = list(shards)
        shards[0]
        return super().submit(run, shards)


class ForgetsOnRestart(Good):
    def __init__(self, options):
        super().__init__(options)
        self.known = set()

    def submit(self, run, shards):
        made = super().submit(run, shards)
        self.known.add(made.details["number"])
        return made

    def states(self, submission):
        self.known.remove(submission.details["number"])
        self.known.add(submission.details["number"])
        return super().states(submission)
