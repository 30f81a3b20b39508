"""The same numbers through OpenTelemetry: observable gauges, sent by whatever the standard variables configure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Final

from assay.errors import AssayError, MissingExtraError
from assay.project.metrics import Family, gather
from assay.project.project import Project

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Observation
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader

UNITS: Final = {"": "1", "ratio": "1", "seconds": "s"}
_READ_FOR_S: Final = 5.0  # all gauges of one collection are read from the stores once


def export(project: Project, clock: Callable[[], datetime], *, reader: MetricReader | None = None) -> MeterProvider:
    """Begin to send; ends when the provider is shut down.

    Endpoint, headers and interval are those of the variables ``OTEL_EXPORTER_OTLP_*`` and
    ``OTEL_METRIC_EXPORT_INTERVAL``; what identifies the service, of ``OTEL_RESOURCE_ATTRIBUTES``.

    Args:
        project: What is told of.
        clock: Reads the time.
        reader: What collects, instead of sending by OTLP over HTTP.

    Raises:
        MissingExtraError: OpenTelemetry is not installed.
    """
    try:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource

        if reader is None:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

            reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    except ImportError as err:
        raise MissingExtraError("sending metrics by OpenTelemetry", "otel") from err
    resource = Resource.create({"service.name": "assay", "service.namespace": project.config.name})
    provider = MeterProvider(metric_readers=[reader], resource=resource)
    meter = provider.get_meter("assay")
    numbers = _Numbers(project, clock)
    for name, unit, says in numbers.kinds():
        meter.create_observable_gauge(name, [numbers.of(name)], unit=unit, description=says)
    return provider


class _Numbers:
    """What is read from the stores, kept for one collection."""

    def __init__(self, project: Project, clock: Callable[[], datetime]) -> None:
        self._project = project
        self._clock = clock
        self._read: tuple[float, Sequence[Family]] = (-_READ_FOR_S, ())

    def kinds(self) -> Sequence[tuple[str, str, str]]:
        """Name, unit and meaning of every number there may ever be."""
        return [(one.name, UNITS[one.unit], one.says) for one in gather(self._project, now=self._clock(), empty=True)]

    def of(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            from opentelemetry.metrics import Observation

            found = next((one for one in self._now() if one.name == name), None)
            return [Observation(value, dict(labels)) for labels, value in found.samples] if found else []

        return observe

    def _now(self) -> Sequence[Family]:
        if time.monotonic() - self._read[0] >= _READ_FOR_S:
            families: Sequence[Family] = ()
            with suppress(AssayError):  # nothing is sent: a gap is seen, a number of old would not be
                families = gather(self._project, now=self._clock())
            self._read = (time.monotonic(), families)
        return self._read[1]
