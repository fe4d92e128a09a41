"""The key vault; implements the kernel's ``Vault``. Today: an encrypted file, for ``local`` only."""

from fintokenx.adapters.vault.local import LocalVault

__all__ = ["LocalVault"]
