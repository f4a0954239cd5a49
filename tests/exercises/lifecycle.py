"""The three answers of the table, for each state and trigger.

.venv/bin/python -m tests.exercises.lifecycle
"""

from domain.lifecycle import State, Trigger, Verdict, verdict


def main() -> None:
    for state in State:
        print(state)
        for answer in Verdict:
            triggers = [one.value for one in Trigger if verdict(state, one) is answer]
            print(f"    {answer.value:<8} {', '.join(triggers) or '-'}")


if __name__ == "__main__":
    main()
