"""Measures of the server, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """Counters, gauges and histograms of one server. Labels are bounded: models, recipes, stages, statuses, routes."""

    def __init__(self) -> None:
        of, kept = "audiosae_steer_", CollectorRegistry()
        self.registry = kept
        self.requests = Counter(of + "requests", "Requests answered", ["route", "status"], registry=kept)
        self.inside = Gauge(of + "requests_inside", "Requests that wait for a text", registry=kept)
        self.waiting = Gauge(of + "queue_windows", "Windows that wait for the model", ["model"], registry=kept)
        self.batch = Histogram(
            of + "batch_windows", "Windows decoded at once", ["model"], buckets=(1, 2, 4, 8, 16, 32, 64), registry=kept
        )
        again = "Windows decoded again alone, for a near tie"
        self.again = Counter(of + "windows_again", again, ["model"], registry=kept)
        self.audio = Counter(of + "audio_seconds", "Seconds of sound transcribed", ["model"], registry=kept)
        by = ["model", "recipe"]
        self.windows = Counter(of + "windows", "Windows of answered requests", by, registry=kept)
        self.gated = Counter(of + "windows_gated", "Windows in which a gate of edits opened", by, registry=kept)
        self.empty = Counter(of + "empty_texts", "Requests answered with an empty text", by, registry=kept)
        stages = "Seconds by stage: upload, read (of the sound), queue, encode, decode (of a batch), total"
        self.seconds = Histogram(of + "seconds", stages, ["model", "stage"], buckets=SECONDS, registry=kept)

    def text(self) -> bytes:
        """All of them, in Prometheus's text format."""
        return generate_latest(self.registry)
