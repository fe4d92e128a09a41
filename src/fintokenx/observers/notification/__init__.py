"""Mail: tells people what happened, once, under their tenant's flag.

Nobody calls notification; it hears facts. Wiring runs its jobs (``jobs.NotificationJobs``) on a mailer.
"""

from fintokenx.observers.notification.types import SEALED, Email

__all__ = ["SEALED", "Email"]
