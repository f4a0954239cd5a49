"""RabbitMQ: there, ours to use, and doing what the topology asks of it."""

from adapters.rabbitmq import declare_topology
from adapters.rabbitmq.trial import Trial
from adapters.system import SystemIds
from domain.errors import BrokerUnavailable, InvalidConfiguration
from entrypoints.settings import Settings
from entrypoints.tools.doctor.findings import (
    Finding,
    Findings,
    address,
    causes,
    failed,
    ok,
    unreachable,
)

CHECK = "broker"


async def examine_broker(settings: Settings) -> Findings:
    url = settings.rabbitmq_url
    connected = False
    try:
        async with Trial.open(url) as trial:
            connected = True
            yield ok(CHECK, f"RabbitMQ answers at {address(url)}.")
            yield await _queues(trial, url)
            yield await _effect(trial)
    except BrokerUnavailable as error:
        if connected:
            remedy = "Give the user of RABBITMQ_URL all rights in its virtual host."
            yield failed("queues", f"{error}.", remedy)
        else:
            yield _no_connection(error, url)


async def _queues(trial: Trial, url: str) -> Finding:
    """Declares nothing that is not there; repeats the declaration of what is."""
    missing = await trial.missing()
    if missing:
        names = " and ".join(missing)
        return failed("queues", f"RabbitMQ does not have {names}.", "Run `pipeline migrate`.")
    try:
        await declare_topology(url)
    except InvalidConfiguration as error:
        remedy = "Drain and delete the queue that is named, then run `pipeline migrate`."
        return failed("queues", " ".join(error.problems), remedy)
    return ok("queues", "The exchange and both queues are there, as this release declares them.")


async def _effect(trial: Trial) -> Finding:
    """On copies: the real queues may be in use."""
    name = f"doctor-{SystemIds().media_id().lower()}"
    if await trial.dead_letters_arrive(name):
        return ok("dead letters", "A rejected message reaches the dead-letter queue.")
    return failed(
        "dead letters",
        "A rejected message does not reach the dead-letter queue: it would be lost.",
        "Use RabbitMQ 3.10 or newer with quorum queues, and remove policies on its queues.",
    )


def _no_connection(error: BrokerUnavailable, url: str) -> Finding:
    kinds = {type(cause).__name__ for cause in causes(error)}
    if kinds & {"ProbableAuthenticationError", "AuthenticationError"}:
        return failed(
            CHECK,
            f"RabbitMQ at {address(url)} refuses the user or the password.",
            "Correct them in RABBITMQ_URL; the user guest is refused from other hosts.",
        )
    # Known to the driver only as an answer that it did not expect to the opening of the host.
    if any(word in str(error) for word in ("OpenOk", "NOT_ALLOWED", "vhost")):
        return failed(
            CHECK,
            f"RabbitMQ at {address(url)} has no virtual host of that name for this user.",
            "Correct the path of RABBITMQ_URL (`/` is the default one), or add the host.",
        )
    network = unreachable(CHECK, error, url, "RABBITMQ_URL")
    return network or failed(CHECK, f"{error}.", "Correct RABBITMQ_URL.")
