"""Database against chain at one block: what must stand there, what differs, and whom it is told."""
