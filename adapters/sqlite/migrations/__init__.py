"""Numbered steps of the database's schema; `PRAGMA user_version` counts those taken."""
