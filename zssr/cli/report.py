"""What came of the tasks, in words and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from zssr.cli.plan import Task
from zssr.progress import format_duration

State = Literal["done", "skipped", "failed", "planned"]


@dataclass(frozen=True)
class Report:
    """What came of a task.

    Attributes
    ----------
    task
        The task.
    state
        "planned" is forecast only.
    error
        One sentence, if it failed.
    facts
        What `Result.to_dict` or `Forecast.to_dict` says about the picture, and the seconds it took.
    content
        The bytes of the output, if they are not, or not only, in a file.
    """

    task: Task
    state: State
    error: str | None = None
    facts: Mapping[str, object] = field(default_factory=dict)
    content: bytes | None = None

    @classmethod
    def failure(cls, task: Task, error: str) -> "Report":
        """Report that a task failed, and why."""
        return cls(task, "failed", error)

    @classmethod
    def from_plan(cls, task: Task) -> "Report":
        """Report on a task that needs no work: it is skipped, or it has failed already."""
        return cls(task, "skipped") if task.error is None else cls.failure(task, task.error)

    @property
    def seconds(self) -> float:
        """Time that it took, or is expected to take."""
        seconds = self.facts.get("seconds")
        return seconds if isinstance(seconds, (int, float)) else 0.0

    def to_dict(self) -> dict[str, object]:
        """Return the facts ready for JSON; the content is not among them."""
        output = str(self.task.output) if self.task.output else None
        head = {"input": self.task.name, "ok": self.state != "failed", "state": self.state, "output": output}
        return {**head, **self.facts, **({"error": self.error} if self.error else {})}

    def to_line(self, where: str) -> str:
        """Return one line; `where` says where an output goes that has no name."""
        facts, output = self.facts, self.facts.get("output", self.task.output or where)
        if self.state == "failed":
            return f"{self.error}"
        if self.state == "skipped":
            return f"{self.task.name}: skipped; {output} exists already"
        size = f"{facts['width']}x{facts['height']} px, {facts['assumed']}"
        if "frames" in facts:
            frames = "1 frame" if facts["frames"] == 1 else f"{facts['frames']} frames"
            size = f"{frames} of {facts['width']}x{facts['height']} px, {facts['assumed']}"
        if self.state == "planned":
            small = f"{facts['input_width']}x{facts['input_height']}"
            return f"{self.task.name} -> {output}: {small} -> {size}, about {format_duration(self.seconds)}"
        if "frames" in facts:
            shots = f"{facts['shots']} shot{'s' * (facts['shots'] != 1)}"
            return f"{self.task.name} -> {output}: {size}, {shots}, {self.seconds:.1f} s on {facts['device']}"
        gain = "" if facts["expected_gain"] is None else f", expected gain {facts['expected_gain']:+.1f} dB"
        unit = "blocks" if "blocks" in facts else "steps"  # of slides, and of photos
        amount = "no training" if facts.get("steps") == 0 else f"{facts[unit]} {unit}"
        work = f"{amount}, {self.seconds:.1f} s on {facts['device']}"
        return f"{self.task.name} -> {output}: {size}, {work}{gain}"


def summarize(tasks: Sequence[Task], reports: Sequence[Report], seconds: float) -> str:
    """Count the tasks by what came of them, and list the errors in the order of the tasks."""
    counts = {state: sum(report.state == state for report in reports) for state in ("done", "planned", "skipped")}
    errors = {report.task: report.error for report in reports if report.state == "failed"}
    counts |= {"failed": len(errors), "not done": len(tasks) - len(reports)}
    rows = [f"{name:<9}{count:>6}" for name, count in counts.items() if count]
    expected = sum(report.seconds for report in reports if report.state == "planned")
    took = f"about {format_duration(expected)} are expected" if expected else f"in {format_duration(seconds)}"
    return "\n".join([*rows, took, *(f"failed: {errors[task]}" for task in tasks if task in errors)])
