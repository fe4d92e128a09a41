"""Mail over SMTP; implements notification's ``Mailer``."""

from fintokenx.adapters.mail.smtp import SmtpMailer, UnsafeMail

__all__ = ["SmtpMailer", "UnsafeMail"]
