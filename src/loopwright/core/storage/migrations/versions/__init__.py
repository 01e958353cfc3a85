"""The chain of migrations, oldest first; each room's tables come in one."""
