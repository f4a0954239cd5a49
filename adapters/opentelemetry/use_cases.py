"""Watches use cases from outside where what they answer is not seen in any port."""

from adapters.opentelemetry.instruments import DUPLICATES
from adapters.opentelemetry.metrics import Metrics
from adapters.opentelemetry.tracing import Tracing
from application.complete_upload import CompleteUpload, Completion


class ObservedCompleteUpload:
    """`CompleteUpload` with a span of its own; counts the repetitions it has absorbed."""

    def __init__(self, inner: CompleteUpload, metrics: Metrics, tracing: Tracing) -> None:
        self._inner = inner
        self._metrics = metrics
        self._tracing = tracing

    async def __call__(
        self, *, media_id: str, original_key: str, traceparent: str | None
    ) -> Completion:
        with self._tracing.span("complete_upload", {"media.id": media_id[:64]}):
            completion = await self._inner(
                media_id=media_id, original_key=original_key, traceparent=traceparent
            )
        if not completion.accepted:
            self._metrics.add(DUPLICATES, source="complete-upload")
        return completion
