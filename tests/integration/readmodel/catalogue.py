"""Compares schemas: what their users may rely on, and what they forbid."""

from typing import NamedTuple

from livebalance.readmodel.connection import Connection

_RELATIONS = """
relations as (
  select c.oid, c.relkind, n.nspname || '.' || c.relname as name, c.relrowsecurity, c.relforcerowsecurity
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
   where n.nspname in ('public', 'reporting') and c.relkind in ('r', 'v')),
columns as (
  select r.oid, r.relkind, r.name, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod) as type,
         a.attnotnull, a.atthasdef or a.attidentity <> '' as given
    from relations r join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped),
functions as (
  select oid, oid::regprocedure::text as name, pg_get_function_result(oid) as result
    from pg_proc where pronamespace in ('public'::regnamespace, 'reporting'::regnamespace)),
roles as (select unnest(array['projector', 'gateway', 'operator', 'analyst']) as role)
"""

_PROMISES = f"""
with {_RELATIONS}
select format('%s %s %s', name, attname, type) as promise from columns
union all
select format('%s %s is given a value', name, attname) from columns where relkind = 'r' and given
union all
select format('%s returns %s', name, result) from functions
union all
select format('%s may %s %s %s', role, may, name, attname)
  from roles, columns, unnest(array['select', 'insert', 'update']) as may
 where has_column_privilege(role, oid, attnum, may)
union all
select format('%s may delete from %s', role, name) from roles, relations
 where has_table_privilege(role, oid, 'delete')
union all
select format('%s may execute %s', role, name) from roles, functions
 where has_function_privilege(role, oid, 'execute')
union all
select format('%s may use schema %s', role, nspname) from roles, pg_namespace
 where nspname in ('public', 'reporting') and has_schema_privilege(role, oid, 'usage')
union all
select format('%s may make temporary tables', role) from roles
 where has_database_privilege(role, current_database(), 'temporary')
union all
select format('%s.%s shows %s for %s where %s', schemaname, tablename, roles, cmd, qual) from pg_policies
 where permissive = 'PERMISSIVE'
"""

# `given`: a statement that does not name the column gets a default value.
_LIMITS = f"""
with {_RELATIONS}
select name, attname as column, given, 'is not null' as limit from columns
 where relkind = 'r' and attnotnull
union all
select name, null, false, pg_get_constraintdef(c.oid)
  from relations r join pg_constraint c on c.conrelid = r.oid
 where contype <> 'n'
union all
select name, null, false, pg_get_indexdef(indexrelid) from relations r join pg_index i on i.indrelid = r.oid
 where indisunique and not exists (select from pg_constraint where conindid = indexrelid)
union all
select name, null, false, 'has row-level security' from relations where relrowsecurity
union all
select name, null, false, 'has row-level security for its owner' from relations where relforcerowsecurity
union all
select schemaname || '.' || tablename, null, false, format('shows %s no more than %s', roles, qual)
  from pg_policies
 where permissive = 'RESTRICTIVE'
union all
select name, null, false, pg_get_triggerdef(t.oid) from relations r join pg_trigger t on t.tgrelid = r.oid
 where not tgisinternal
"""


class Limit(NamedTuple):
    """A condition that rows of a table must meet."""

    table: str
    column: str | None  # None: the limit concerns the whole table
    has_default: bool  # whether the column has a default value
    limit: str


class Catalogue(NamedTuple):
    """Content of a schema: what it offers to its users (`promises`) and what it forbids (`limits`)."""

    promises: set[str]
    limits: set[Limit]
    columns: set[tuple[str, str]]
    tables: set[str]


async def catalogue(connection: Connection) -> Catalogue:
    """Reads the schemas `public` and `reporting`."""
    promises = {row["promise"] for row in await connection.fetch(_PROMISES)}
    limits = {Limit(*row) for row in await connection.fetch(_LIMITS)}
    rows = await connection.fetch(f"with {_RELATIONS} select name, attname from columns")
    columns = {(row["name"], row["attname"]) for row in rows}
    return Catalogue(promises, limits, columns, {table for table, _ in columns})


def breaking_changes(before: Catalogue, after: Catalogue) -> list[str]:
    """Returns what a program written for the schema `before` misses in `after`, or is forbidden there."""
    removed = [f"gone: {promise}" for promise in before.promises - after.promises]
    new = [
        f"new: {limit.table} {limit.column or ''} {limit.limit}"
        for limit in after.limits - before.limits
        if limit.table in before.tables
        and limit._replace(has_default=False) not in before.limits  # it has got a default
        and not _is_new_column_with_default(limit, before)
    ]
    return sorted(removed + new)


def _is_new_column_with_default(limit: Limit, before: Catalogue) -> bool:
    """Returns whether a limit concerns a new column with a default, which older programs do not name."""
    return (
        limit.column is not None and limit.has_default and (limit.table, limit.column) not in before.columns
    )
