"""Things to try on the real product: see LEARNING_PLAN.md."""
