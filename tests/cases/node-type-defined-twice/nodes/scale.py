"""scale: another one."""
