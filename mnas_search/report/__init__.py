"""What people read: tables, progress, summaries."""
