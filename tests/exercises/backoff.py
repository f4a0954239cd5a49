"""A thousand photos fail in the same second. When do they come back, without jitter and with it?

.venv/bin/python -m tests.exercises.backoff
"""

import random
from collections import Counter
from collections.abc import Callable

from domain.retry_policy import RetryPolicy

PHOTOS = 1000
ATTEMPT = 2
POLICY = RetryPolicy()


def show(title: str, fraction: Callable[[], float]) -> None:
    """One line for each second in which photos come back."""
    print(title)
    seconds = Counter(int(POLICY.backoff_seconds(ATTEMPT, fraction())) for _ in range(PHOTOS))
    for second, photos in sorted(seconds.items()):
        print(f"  second {second}: {photos:4} {'#' * (photos // 20)}")


def main() -> None:
    for attempt in range(1, POLICY.attempts_max):
        print(f"after attempt {attempt}: 0 to {POLICY.backoff_seconds(attempt, 1.0):.0f} s")
    show("no jitter", lambda: 1.0)
    show("full jitter", random.random)


if __name__ == "__main__":
    main()
