"""What came of the tasks, in words and as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from zssr.cli.plan import Task

if TYPE_CHECKING:
    from zssr.forecast import Forecast
    from zssr.model import Result

State = Literal["done", "skipped", "failed", "planned"]


@dataclass(frozen=True)
class Report:
    """What came of a task.

    Attributes
    ----------
    task
        The task.
    state
        "planned" is what has been told of it beforehand, and not done.
    error
        One sentence, if it failed.
    facts
        What is known about the picture, ready for JSON.
    content
        The bytes of the output, if they are handed back.
    """

    task: Task
    state: State
    error: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    content: bytes | None = None

    @classmethod
    def failure(cls, task: Task, error: str) -> "Report":
        """Return that a task has failed, and why."""
        return cls(task, "failed", error)

    @classmethod
    def known(cls, task: Task) -> "Report":
        """Return what is known of a task on which no work waits."""
        return cls(task, "skipped") if task.fault is None else cls.failure(task, task.fault)

    def as_object(self) -> dict[str, Any]:
        """Return a JSON object; the bytes of the output are left to the caller."""
        output = str(self.task.output) if self.task.output else None
        head = {"input": self.task.name, "ok": self.state != "failed", "state": self.state, "output": output}
        return head | self.facts | ({"error": self.error} if self.error else {})

    def as_line(self, where: str) -> str:
        """Return one line; `where` says where outputs go that have no name."""
        facts, output = self.facts, self.task.output or where
        if self.state == "failed":
            return f"{self.error}"
        if self.state == "skipped":
            return f"{self.task.name}: skipped; {output} exists already"
        size = f"{facts['width']}x{facts['height']} px, {facts['assumed']}"
        if self.state == "planned":
            small = f"{facts['input_width']}x{facts['input_height']}"
            return f"{self.task.name} -> {output}: {small} -> {size}, about {format_duration(facts['seconds'])}"
        gain = "" if facts["expected_gain"] is None else f", expected gain {facts['expected_gain']:+.1f} dB"
        work = f"{facts['steps']} steps, {facts['seconds']:.1f} s on {facts['device']}"
        return f"{self.task.name} -> {output}: {size}, {work}{gain}"


def to_dict(result: "Result[object]", size: tuple[int, int], seconds: float) -> dict[str, Any]:
    """Return what a result tells of an output of `size` (H, W)."""
    return {
        "width": size[1],
        "height": size[0],
        "scale": result.scale[::-1],
        "noise": round(result.noise, 2),
        "jpeg": str(result.jpeg) if result.jpeg else None,
        "steps": result.steps,
        "seconds": round(seconds, 3),
        "stages": {stage: round(spent, 3) for stage, spent in result.seconds.items()},
        "device": result.device,
        "precision": result.precision,
        "seed": result.seed,
        "assumed": result.assumed,
        "expected_gain": result.expected_gain,
        "warnings": result.warnings,
    }


def facts_beforehand(forecast: "Forecast") -> dict[str, Any]:
    """Return what a forecast tells."""
    return {
        "input_width": forecast.input_size[1],
        "input_height": forecast.input_size[0],
        "width": forecast.size[1],
        "height": forecast.size[0],
        "assumed": forecast.assumed,
        "seconds": round(forecast.seconds, 3),
    }


def table(tasks: Sequence[Task], reports: Sequence[Report], seconds: float) -> str:
    """Return how many tasks went how, and the sentence of each failure, in the order of the tasks."""
    counts = {state: sum(report.state == state for report in reports) for state in ("done", "planned", "skipped")}
    failures = {report.task: report.error for report in reports if report.state == "failed"}
    counts |= {"failed": len(failures), "not done": len(tasks) - len(reports)}
    rows = [f"{name:<9}{count:>6}" for name, count in counts.items() if count]
    expected = sum(report.facts["seconds"] for report in reports if report.state == "planned")
    took = f"about {format_duration(expected)} are expected" if expected else f"in {format_duration(seconds)}"
    return "\n".join([*rows, took, *(f"failed: {failures[task]}" for task in tasks if task in failures)])


def format_duration(seconds: float) -> str:
    """Return a time as 42 s, 12 min or 3 h 20 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
