"""``schema``, ``tables`` and ``columns`` of an app's database."""

from __future__ import annotations

from dataclasses import replace

from gateway.config.accept_settings import ColumnsSettings, TablesSettings
from gateway.rules.adapter_tables import SCHEMAS, Tables


def tables_of(schema: str, tables: TablesSettings, columns: ColumnsSettings) -> Tables:
    """Return what they are called: as the schema has it, but for what was renamed."""
    usual = SCHEMAS[schema]
    return replace(
        usual,
        sessions=tables.session or usual.sessions,
        users=tables.user or usual.users,
        token=columns.session_token,
        user_id=columns.user_id,
        expires=columns.expires,
        id=columns.id,
        name=columns.name,
        email=columns.email,
        image=columns.image,
    )
