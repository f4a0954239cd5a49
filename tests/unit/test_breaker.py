"""The breaker finds out that a server is silent, once, and does not take a slow one for it."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from adapters.breaker import Breaker, Patience
from domain.errors import DatabaseUnavailable
from tests.support.leaks import no_leaks
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

PATIENCE = Patience(doubt_seconds=0.02, question_seconds=0.05, pause_seconds=0.01)


class Server:
    """Answers questions while `speaks` is set, and calls while `works` is."""

    def __init__(self) -> None:
        self.speaks = asyncio.Event()
        self.works = asyncio.Event()
        self.refuses = False
        self.questions = 0
        self.at_once = 0
        self.at_once_max = 0
        self.silences = 0
        self.breaker = Breaker(
            self.ask, self.error, patience=PATIENCE, on_silence=self.note_silence
        )

    async def ask(self) -> None:
        self.questions += 1
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        try:
            if self.refuses:
                raise ConnectionRefusedError
            await self.speaks.wait()
        finally:
            self.at_once -= 1

    def error(self) -> DatabaseUnavailable:
        return DatabaseUnavailable("silent")

    async def note_silence(self) -> None:
        self.silences += 1

    async def call(self, works: asyncio.Event | None = None) -> str:
        async with self.breaker.call():
            await (works or self.works).wait()
            return "answer"

    async def count(self) -> int:
        return self.questions


@pytest.fixture
async def server() -> AsyncGenerator[Server]:
    async with no_leaks():
        server = Server()
        yield server
        await server.breaker.close()


async def fall_silent(server: Server) -> None:
    with pytest.raises(DatabaseUnavailable):
        await server.call()


async def test_all_calls_under_way_fail_together_when_the_server_is_silent(server: Server) -> None:
    calls = [asyncio.create_task(server.call()) for _ in range(5)]
    errors = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in errors] == [DatabaseUnavailable] * 5
    assert server.silences == 1


async def test_after_that_each_call_fails_at_once_with_its_reason(server: Server) -> None:
    await fall_silent(server)
    asked = server.questions
    for _ in range(1000):
        with pytest.raises(DatabaseUnavailable) as failed:
            await server.call()
        assert isinstance(failed.value.__cause__, TimeoutError)
    assert server.questions <= asked + 1


async def test_one_question_at_a_time_is_asked_until_there_is_an_answer(server: Server) -> None:
    await fall_silent(server)
    await eventually(server.count, until=lambda count: count >= 3)
    assert server.at_once_max == 1
    server.works.set()
    server.speaks.set()

    async def answers() -> bool:
        try:
            return await server.call() == "answer"
        except DatabaseUnavailable:
            return False

    await eventually(answers)
    asked = server.questions
    assert await server.call() == "answer"
    assert server.questions == asked


async def test_a_slow_server_that_answers_the_question_is_waited_for(server: Server) -> None:
    server.speaks.set()
    call = asyncio.create_task(server.call())
    await eventually(server.count, until=lambda count: count >= 3)
    server.works.set()
    assert await call == "answer"
    assert server.silences == 0


async def test_a_server_that_refuses_has_answered(server: Server) -> None:
    server.refuses = True
    call = asyncio.create_task(server.call())
    await eventually(server.count, until=lambda count: count >= 3)
    server.works.set()
    assert await call == "answer"


async def test_a_server_that_answers_anybody_is_not_silent(server: Server) -> None:
    call = asyncio.create_task(server.call())
    at_once = asyncio.Event()
    at_once.set()

    async def another_question() -> bool:
        assert await server.call(at_once) == "answer"
        return server.questions >= 3

    await eventually(another_question)
    assert not call.done()
    server.works.set()
    assert await call == "answer"


async def test_a_time_limit_of_the_caller_stays_the_callers(server: Server) -> None:
    server.speaks.set()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await server.call()

    async def impatient() -> None:
        async with server.breaker.call():
            raise TimeoutError

    with pytest.raises(TimeoutError):
        await impatient()


async def test_closing_ends_the_question(server: Server) -> None:
    await fall_silent(server)
    await eventually(server.count, until=lambda count: count >= 2)
    await server.breaker.close()
    assert server.at_once == 0
