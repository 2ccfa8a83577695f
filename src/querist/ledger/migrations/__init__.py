"""How ledgers of older versions become ledgers of this one. Run by Alembic."""
