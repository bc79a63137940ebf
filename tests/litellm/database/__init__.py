"""Stands in for Prisma's generated client and its engine under a real LiteLLM: schema.prisma's tables, in SQLite.

What it does not do: it is not Postgres. A transaction (`tx`) neither isolates nor rolls back; a `batch_` runs
statement by statement. Raw SQL runs as far as SQLite understands it; other SQL raises RawQueryError. Of queries it
knows the filters, nested writes and aggregates that `client.py` names; any other raises NotImplementedError, saying
which. Deleting a row that another refers to is refused, whatever the schema says of it. Errors are the real client's,
raised by its own translation of the engine's codes.
"""
