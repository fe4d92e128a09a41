"""What is seen in a browser: the design system that all pages share, and the files that they ask for."""
