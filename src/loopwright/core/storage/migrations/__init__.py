"""How a metadata store gets from any earlier state to the present one (Alembic)."""
