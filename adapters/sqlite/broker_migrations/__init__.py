"""Numbered steps of the queue's schema; `PRAGMA user_version` counts those taken."""
