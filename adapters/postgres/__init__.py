"""The production database: PostgreSQL 14 or later, through asyncpg."""
