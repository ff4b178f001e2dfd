"""The timetable 日程: what is done for each business date by itself, for whom, and how far it has come."""

from reconciliation.timetable.plan import STEPS, Missed, Row, Scope, Step, late_s, next_at
from reconciliation.timetable.steps import DateSteps
from reconciliation.timetable.worker import Timetable, latest

__all__ = ["STEPS", "DateSteps", "Missed", "Row", "Scope", "Step", "Timetable", "late_s", "latest", "next_at"]
