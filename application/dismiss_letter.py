"""The operator has seen a dead letter and will not replay it: it waits for nobody any more."""

from dataclasses import dataclass

from application.ports import Database, UnitOfWork
from application.transactions import transact
from application.values import DeadLetter
from domain.errors import LetterNotFound


@dataclass(frozen=True, slots=True)
class Dismissed:
    """The letter as it was before this call, and whether this call has dismissed it."""

    letter: DeadLetter
    moved: bool


class DismissLetter:
    """Marks a letter that was neither replayed nor dismissed yet; its copy and its photo stay."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def __call__(self, letter_id: str) -> Dismissed:
        """Raises LetterNotFound."""

        async def work(uow: UnitOfWork) -> Dismissed:
            letter = await uow.dead_letters.get(letter_id)
            if letter is None:
                raise LetterNotFound(letter_id)
            if letter.is_open:
                await uow.dead_letters.mark_dismissed(letter_id)
                await uow.commit()
            return Dismissed(letter, moved=letter.is_open)

        return await transact(self._database, work)
