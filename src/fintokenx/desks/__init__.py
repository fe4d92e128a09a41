"""Desks: what one kind of person works at. They read and write through the modules' doors, and hold no rule."""
