"""Run migrations on the connection that was handed over."""

from alembic import context

from diagnosis.store.state import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
