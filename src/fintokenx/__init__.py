"""FinToken X: turns confirmed UK invoices into money, and proves everything that happened."""
