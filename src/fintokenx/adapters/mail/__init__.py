"""Mail over SMTP; implements notification's ``Mailer``."""

from fintokenx.adapters.mail.smtp import SmtpMailer

__all__ = ["SmtpMailer"]
