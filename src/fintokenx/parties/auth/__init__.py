"""Who is calling right now?"""
