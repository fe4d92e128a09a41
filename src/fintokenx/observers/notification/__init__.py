"""Mail and webhooks: tells people what happened, once."""
