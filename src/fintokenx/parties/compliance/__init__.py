"""Who decides, and what stays decided: the review queue."""
